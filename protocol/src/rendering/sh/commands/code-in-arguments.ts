// Finds the shell text that a command is given to run: by eval, trap or a shell's -c. It sees the variables of the
// script, so values that they hold must be followed into it.

import { anyVariable, literalOf, type Segment, type Word } from '../reading/syntax.ts';
import { launchedBy } from './commands-behind.ts';
import { baseName, interpreterOf } from './interpreters.ts';
import { commandBehind, resolveCommand } from './resolve-command.ts';

export interface CodeInArguments {
  /** In which each part that is only known when the script runs is `anyVariable`. */
  text: string;
  /** The command that runs it. */
  name: string;
  /** Whether some of it is in `$'…'`, where shells don't agree on what it is. */
  isAnsi: boolean;
  /** Whether all of it is known. */
  isWhole: boolean;
  isBash: boolean;
  hasOwnArguments: boolean;
}

/**
 * Returns the shell text that a command runs from its arguments: that of `sh -c`, `eval` or the like, also behind
 * another command. Undefined if it runs none.
 */
export function codeIn(words: readonly Word[], isBash: boolean): CodeInArguments | undefined {
  if (words.length < 2) return undefined;
  const resolved = resolveCommand(words);
  const named = resolved.name === undefined ? commandBehind(words, resolved) : words;
  for (const command of [named, ...(launchedBy(named) ?? [])]) {
    const code = codeOfCommand(command, isBash);
    if (code !== undefined) return code;
  }
  return undefined;
}

function codeOfCommand(words: readonly Word[], isBash: boolean): CodeInArguments | undefined {
  const { name, index } = resolveCommand(words);
  if (name === undefined) return undefined;
  const rest = words.slice(index + 1);
  const given = literalOf(rest[0]) === '--' ? rest.slice(1) : rest;
  const by = { name, isBash, hasOwnArguments: false };
  if (name === 'eval') return codeOf(segmentsOf(given), ' ', by);
  if (name === 'trap') return codeOf(segmentsOf(given.slice(0, 1)), ' ', by);
  const shell = shellIn(words, index, name);
  if (shell === undefined) return undefined;
  const at = words.findIndex(
    (word, place) => place > shell && /^-[A-Za-z]*c[A-Za-z]*$/.test(literalOf(word) ?? ''),
  );
  if (at < 0) return undefined;
  const called = literalOf(words[shell]) ?? name;
  return codeOf(segmentsOf(words.slice(at + 1, at + 2)), ' ', {
    name: called,
    isBash: baseName(called) === 'bash',
    hasOwnArguments: true,
  });
}

/** Where the shell is named, also behind `find -exec` or an unknown program. */
function shellIn(words: readonly Word[], index: number, name: string): number | undefined {
  if (isShell(name) || handsToShell.has(baseName(name))) return index;
  if (name === 'echo' || name === 'printf') return undefined;
  const at = words.findIndex((word, place) => place > index && isShell(literalOf(word) ?? ''));
  return at < 0 || !/^-/.test(literalOf(words[at + 1]) ?? '') ? undefined : at;
}

/** Programs that hand what follows their -c, or their input, to a shell. */
export const handsToShell: ReadonlySet<string> = new Set(['su', 'runuser', 'sg', 'script']);

/** Whether a program is a shell, by its name with or without a folder. */
export function isShell(name: string): boolean {
  return interpreterOf(name)?.names.includes('dash') === true;
}

function segmentsOf(words: readonly Word[]): (readonly Segment[])[] {
  return words.map(({ segments }) => segments);
}

/**
 * Returns the shell text that these make together; undefined if there are none.
 *
 * @param between What stands between two of them.
 */
export function codeOf(
  texts: readonly (readonly Segment[])[],
  between: string,
  by: Pick<CodeInArguments, 'name' | 'isBash' | 'hasOwnArguments'>,
): CodeInArguments | undefined {
  if (texts.length === 0) return undefined;
  let isWhole = true;
  const isAnsi = texts.some((segments) => segments.some((segment) => isUnclear(segment, by.isBash)));
  const text = texts
    .map((segments) =>
      segments
        .map((segment) => {
          if (segment.kind === 'text' && segment.quoting !== 'ansi') return segment.text;
          isWhole = false;
          return anyVariable;
        })
        .join(''),
    )
    .join(between);
  return { text, isAnsi, isWhole, ...by };
}

function isUnclear(segment: Segment, isBash: boolean): boolean {
  return (
    segment.kind === 'text' &&
    segment.quoting === 'ansi' &&
    segment.text !== '' &&
    (!isBash || /[$`\\(]/.test(segment.text))
  );
}
