// The last line of an output, for places that have no room for more.
import { readLine } from './sgr.ts';

const maxChars = 300;

/** Returns the last line that isn't blank, as shown but without styles; '' if there is none. */
export function lastLineOf(bytes: Uint8Array): string {
  const text = new TextDecoder().decode(bytes);
  let to = text.length;
  while (to > 0) {
    const from = text.lastIndexOf('\n', to - 1) + 1;
    // Leave out text that a carriage return overwrote.
    const line = text.slice(from, to).replace(/\r+$/, '');
    const shown = readLine(line.slice(line.lastIndexOf('\r') + 1).slice(0, maxChars), 0)
      .spans.map((span) => span.text)
      .join('');
    if (shown.trim() !== '') return shown;
    to = from - 1;
  }
  return '';
}
