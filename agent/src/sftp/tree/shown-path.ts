// Names of files come from elsewhere: in messages and output they are one line of visible text.

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
    return code < 256
      ? `\\x${code.toString(16).padStart(2, '0')}`
      : `\\u${code.toString(16).padStart(4, '0')}`;
  });
  return `"${escaped}"`;
}
