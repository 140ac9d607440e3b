// Reads `[[ … ]]`, bash's test. In another sh the words in it are those of a command.
import { Unreadable } from './nesting.ts';
import { bareText, type Segment, type Word } from './syntax.ts';
import type { Tokens } from './tokens.ts';

/** Returns its words, with operators as separate words, and leaves `tokens` behind `]]`. */
export function readDoubleBrackets(tokens: Tokens, isBash: boolean): Word[] {
  const { at } = tokens;
  const words: Word[] = [];
  tokens.word();
  for (;;) {
    tokens.blanks();
    const isLineEnd = tokens.peek() === '\n';
    if (isLineEnd && !isBash && !/^(&&|\|\|)$/.test(bareText(words.at(-1)) ?? ''))
      throw new Unreadable('a line ends in [[ … ]], where sh begins another command', tokens.at);
    tokens.blanksAndLines();
    if (tokens.at >= tokens.end) throw new Unreadable('[[ is not closed', at);
    const from = tokens.at;
    const operator = ['&&', '||', '(', ')', '<', '>'].find((each) => tokens.starts(each));
    if (operator !== undefined) {
      tokens.at += operator.length;
      const text = { kind: 'text', text: operator, quoting: 'bare', at: from } as const;
      words.push({ segments: [text], at: from, end: tokens.at });
      continue;
    }
    const word = bareText(words.at(-1)) === '=~' ? readRegex(tokens, isBash) : tokens.word();
    if (word === undefined) throw new Unreadable(`${tokens.found()} is unexpected`, tokens.at);
    if (bareText(word) === ']]') return words;
    words.push(word);
  }
}

/** Parentheses and bars are part of the word. */
function readRegex(tokens: Tokens, isBash: boolean): Word | undefined {
  const { at } = tokens;
  const segments: Segment[] = [];
  let depth = 0;
  for (;;) {
    const word = tokens.word();
    segments.push(...(word?.segments ?? []));
    const char = tokens.peek();
    if (char === '' || (/[ \t\n]/.test(char) && depth === 0)) break;
    if (char === '(') depth += 1;
    if (char === ')') depth -= 1;
    if (depth === 0 && (/[;&<>]/.test(char) || (char === '|' && !isBash)))
      throw new Unreadable(`${char} stands in a pattern of [[ … ]], where sh ends a command`, tokens.at);
    segments.push({ kind: 'text', text: char, quoting: 'bare', at: tokens.at });
    tokens.at += 1;
  }
  return segments.length === 0 ? undefined : { segments, at, end: tokens.at };
}
