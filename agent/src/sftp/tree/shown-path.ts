// Names of files come from elsewhere: in messages and output they are one line of visible text.
import { isText } from './name-bytes.ts';

/** Line ends, terminal escapes, marks that turn the direction of text, and what is no text at all. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const unseen = /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]/u;
const unseenAll = new RegExp(unseen.source, 'gu');

/** The path as it is shown: in quotes with escapes where it has anything that is not plain text. */
export function shownPath(path: string): string {
  if (!unseen.test(path)) return path;
  const escaped = path.replaceAll('\\', '\\\\').replaceAll(unseenAll, (character) => {
    const code = character.codePointAt(0) ?? 0;
    if (character === '\n') return '\\n';
    const byte = code < 0x80 ? code : isText(character) ? undefined : code & 0xff;
    return byte === undefined
      ? `\\u${code.toString(16).padStart(4, '0')}`
      : `\\x${byte.toString(16).padStart(2, '0')}`;
  });
  return `"${escaped}"`;
}

/** The path as a program is told it: with escapes only where it has bytes that are no text. */
export function toldPath(path: string): string {
  return isText(path) ? path : shownPath(path);
}
