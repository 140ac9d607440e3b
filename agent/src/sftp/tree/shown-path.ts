// File names come from the other side, so in messages and output they are shown as one line of visible text.
import { isText } from './name-bytes.ts';

/** Line breaks, terminal escapes, marks that change the direction of text, and surrogates that stand for bytes. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const unseen = /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]/u;
const unseenAll = new RegExp(unseen.source, 'gu');

/** Returns the path as it is shown to people: in quotes and with escapes if it contains anything but visible text. */
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

/** Returns the path as it is given to programs: with escapes only if it contains bytes that are not text. */
export function toldPath(path: string): string {
  return isText(path) ? path : shownPath(path);
}
