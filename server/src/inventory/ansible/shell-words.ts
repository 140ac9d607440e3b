// Splits a line into words like Python's shlex with POSIX rules and comments, which is how Ansible reads host lines of
// an INI inventory. Unlike in a shell, a # begins a comment even inside a word.

export class ShellWordsError extends Error {
  override readonly name = 'ShellWordsError';
}

/**
 * Splits a line as a shell would, up to a comment.
 * @throws {ShellWordsError} if a quote is not closed, or the line ends in a backslash
 */
export function splitShellWords(line: string): string[] {
  const words: string[] = [];
  let word: string | undefined;
  for (let at = 0; at < line.length; at++) {
    const character = line[at] ?? '';
    if (character === '#') break;
    if (/[ \t\r\n]/.test(character)) {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else if (character === '\\') {
      at += 1;
      if (at >= line.length) throw new ShellWordsError('The line ends in a backslash.');
      word = (word ?? '') + line[at];
    } else if (character === '"' || character === "'") {
      const { text, end } = quotedText(line, at, character);
      word = (word ?? '') + text;
      at = end;
    } else word = (word ?? '') + character;
  }
  if (word !== undefined) words.push(word);
  return words;
}

function quotedText(line: string, start: number, quote: string): { text: string; end: number } {
  let text = '';
  for (let at = start + 1; at < line.length; at++) {
    const character = line[at] ?? '';
    if (character === quote) return { text, end: at };
    const next = line[at + 1];
    if (quote === '"' && character === '\\' && (next === '"' || next === '\\')) {
      text += next;
      at += 1;
    } else text += character;
  }
  throw new ShellWordsError('A quote is not closed.');
}
