// Splits the text of a selector into words and signs, each with its column.
import { SelectorError } from './selector.ts';

export interface Token {
  kind: 'word' | 'quoted' | 'sign' | 'end';
  /** For a quoted text, what it stands for. */
  text: string;
  /** From 1, in characters. */
  column: number;
  /** Whether it follows white space or nothing: `a = b` is not the same as `a=b`. */
  spaced: boolean;
}

const signs = ['!=', '=', '!', '(', ')', ',', ':'] as const;
const inWord = /[^\s"'!=(),:]/u;

/** Splits a text into tokens; the last is `end`. @throws {SelectorError} for an unclosed quote. */
export function tokensOf(text: string): Token[] {
  const characters = [...text];
  const tokens: Token[] = [];
  let at = 0;
  while (at < characters.length) {
    const start = at;
    while (/\s/u.test(characters[at] ?? '')) at += 1;
    if (at === characters.length) break;
    const place = { column: at + 1, spaced: at > start || at === 0 };
    const character = characters[at] ?? '';
    if (character === '"' || character === "'") {
      const quoted = readQuoted(characters, at);
      tokens.push({ kind: 'quoted', text: quoted.text, ...place });
      at = quoted.end;
    } else if (inWord.test(character)) {
      let end = at;
      while (end < characters.length && inWord.test(characters[end] ?? '')) end += 1;
      tokens.push({ kind: 'word', text: characters.slice(at, end).join(''), ...place });
      at = end;
    } else {
      const two = character + (characters[at + 1] ?? '');
      const sign = signs.find((one) => one === two) ?? character;
      tokens.push({ kind: 'sign', text: sign, ...place });
      at += sign.length;
    }
  }
  return [...tokens, { kind: 'end', text: '', column: characters.length + 1, spaced: true }];
}

function readQuoted(characters: readonly string[], start: number): { text: string; end: number } {
  const quote = characters[start] ?? '';
  let text = '';
  for (let at = start + 1; at < characters.length; at += 1) {
    const character = characters[at] ?? '';
    if (character === quote) return { text, end: at + 1 };
    if (character === '\\' && (characters[at + 1] === quote || characters[at + 1] === '\\')) at += 1;
    text += characters[at] ?? '';
  }
  throw new SelectorError(
    start + 1,
    'The quote is not closed.',
    `Write a second ${quote} at the end of the value.`,
  );
}
