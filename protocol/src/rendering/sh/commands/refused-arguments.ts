// Determines in which arguments of an interpreter no value may stand.

import { literalOf, literalStart, type Word } from '../reading/syntax.ts';
import { commandsBehind, launcherOf } from './commands-behind.ts';
import type { Interpreter } from './interpreters.ts';

/** Formats whose conversions take text as it is; all others are evaluated by some shells. */
const plainFormat = /^(?:[^%]|%%|%-?\d*(?:\.\d+)?[sbqc])*$/s;

/**
 * Returns the words of an interpreter’s command in which a value would be run.
 * @param isNumeric whether a word is a number in any case, which is harmless in a format
 */
export function refusedArguments(
  name: string,
  interpreter: Interpreter,
  words: readonly Word[],
  isNumeric: (word: Word) => boolean,
): readonly Word[] {
  switch (interpreter.arguments) {
    case 'all':
      return words;
    case 'script':
      return words.slice(0, scriptAt(interpreter, words));
    case 'after':
      return wordsAfter(interpreter, words);
    case 'program':
    case 'subcommand': {
      const { refused, starts } = commandsBehind(launcherOf(name) ?? {}, words);
      return starts.length === 0 ? refused : [...refused, ...wordsAfter(interpreter, words)];
    }
    case 'format':
      return refusedOfPrintf(words, isNumeric);
    case 'number':
      return words.filter((word) => !isNumeric(word));
    case 'name':
      return words.filter((word) => !/^[A-Za-z_]\w*=/.test(literalStart(word)));
    case 'named':
      return words.filter((_, at) => literalOf(words[at - 2]) !== '--arg');
    case 'dashes':
      return literalOf(words[0]) === '--' ? [] : words;
    case 'test':
      return [];
  }
}

function wordsAfter({ after }: Interpreter, words: readonly Word[]): readonly Word[] {
  const at = words.findIndex((word) => after?.test(literalOf(word) ?? '') === true);
  return at < 0 ? [] : words.slice(at);
}

/** Returns the index after the script file; the number of words if none is named. */
function scriptAt({ harmless }: Interpreter, words: readonly Word[]): number {
  for (const [at, word] of words.entries()) {
    const text = literalOf(word);
    if (text !== undefined && harmless?.test(text)) continue;
    const isFile =
      text !== undefined && text !== '' && !/^[-+]/.test(text) && !/^\/dev\/(stdin|fd\/)/.test(text);
    return isFile ? at + 1 : words.length;
  }
  return words.length;
}

function refusedOfPrintf(words: readonly Word[], isNumeric: (word: Word) => boolean): readonly Word[] {
  const isNamed = literalOf(words[0]) === '-v';
  const from = isNamed ? 2 : literalOf(words[0]) === '--' ? 1 : 0;
  const format = literalOf(words[from]);
  const head = words.slice(0, from + 1);
  if (format !== undefined && plainFormat.test(format)) return head;
  return [...head, ...words.slice(from + 1).filter((word) => !isNumeric(word))];
}
