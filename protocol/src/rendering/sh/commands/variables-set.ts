// Which variables a command sets by their names: `read x`, `printf -v x`, `mapfile x`, `getopts ab: x`.
import { literalStart, type Word } from '../reading/syntax.ts';
import { resolveCommand } from './resolve-command.ts';

export interface SetVariable {
  /** `undefined` if only the run of the script decides which one it is: `read "$name"`. */
  name: string | undefined;
  /** Offset of the word that names it. */
  at: number;
}

/** Returns the variables that a command sets from its input or its arguments, without those of `NAME=value`. */
export function variablesSet(words: readonly Word[]): SetVariable[] {
  const { name = '', index } = resolveCommand(words);
  const given = words.slice(index + 1);
  if (name === 'printf') return given[0] === undefined ? [] : setByPrintf(given[0], given[1]);
  if (!/^(read|mapfile|readarray|getopts)$/.test(name)) return [];
  return given.flatMap((word) => {
    const option = /^-[A-Za-z]*/.exec(literalStart(word))?.[0];
    if (option === undefined) return nameIn(word, 0);
    // `read -ar`; the name of `read -a r` is a word of its own.
    const array = option.search(/[aA]/);
    return name !== 'read' || array < 0 ? [] : nameIn(word, array + 1);
  });
}

function setByPrintf(option: Word, next: Word | undefined): SetVariable[] {
  const text = literalStart(option);
  if (!text.startsWith('-v')) return [];
  if (text.length > 2 || option.segments.some(({ kind }) => kind !== 'text')) return nameIn(option, 2);
  return next === undefined ? [] : nameIn(next, 0);
}

/** @param from How many characters of the word's text belong to something else. */
function nameIn(word: Word, from: number): SetVariable[] {
  const start = literalStart(word);
  const text = start.slice(from);
  const name = /^[A-Za-z_]\w*/.exec(text)?.[0] ?? '';
  const next = word.segments.find(({ kind }) => kind !== 'text');
  // `r[i]`, whose brackets are a segment of their own.
  const goesOn = next !== undefined && !(next.kind === 'group' && next.what === 'subscript');
  if (name === text && goesOn) return [{ name: undefined, at: word.at }];
  return name === '' ? [] : [{ name, at: word.at }];
}
