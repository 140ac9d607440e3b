// Determines the program that a command finally runs: behind `sudo -u x`, `timeout 5`, `env A=b`, whatever its path.

import { anyVariable, bareText, literalOf, literalStart, type Word } from '../reading/syntax.ts';
import { baseName, interpreterOf } from './interpreters.ts';
import { type Wrapper, wrappers } from './wrappers.ts';

export interface Resolved {
  /** Name of the program; `undefined` if only the run of the script decides it, or there is none. */
  name?: string;
  /** Index of the word that names it; the words after it are its arguments. */
  index: number;
  /** Preceding words that name or select a program: only literal text may stand there. */
  leading: number[];
  /** An option that passes a text to a shell or that is unknown here, or a builtin that expands its arguments again. */
  obstacle?: { word: Word; wrapper: string; why: 'shell' | 'unknown_option' | 'expands' };
}

/** Cache, because a command is looked at several times; its words never change. */
const resolved = new WeakMap<readonly Word[], Resolved>();

/** Follows wrappers to the program. */
export function resolveCommand(words: readonly Word[]): Resolved {
  const before = resolved.get(words);
  if (before !== undefined) return before;
  const found = followWrappers(words);
  resolved.set(words, found);
  return found;
}

/**
 * The command if those in front of it, which only the run of the script decides, come to nothing or to a wrapper:
 * `$SUDO sh -c …`.
 */
export function commandBehind(words: readonly Word[], { name, index }: Resolved): readonly Word[] {
  if (name !== undefined) return [];
  const at = words.findIndex((word, place) => place > index && programName(word) !== undefined);
  return at < 0 ? [] : words.slice(at);
}

function followWrappers(words: readonly Word[]): Resolved {
  const leading: number[] = [];
  let index = 0;
  for (let depth = 0; depth < 20; depth += 1) {
    const name = programName(words[index]);
    leading.push(index);
    const wrapper = name === undefined ? undefined : ownWrapper(name);
    if (name === undefined || wrapper === undefined) {
      return { ...(name === undefined ? {} : { name }), index, leading };
    }
    if (name === 'time' && isBuiltin(words, leading))
      return {
        name,
        index,
        leading,
        obstacle: { word: words[index] as Word, wrapper: name, why: 'expands' },
      };
    const next = behind(words, index, wrapper);
    if ('word' in next) {
      return { name, index, leading, obstacle: { ...next, wrapper: baseName(name) } };
    }
    // Nothing left to run: `exec >file`, `env`.
    if (next.index >= words.length) return { name, index: next.index, leading };
    index = next.index;
  }
  return { index, leading };
}

/** Whether `command`, `builtin` or a quote hides from the shell that a word is one of its own. */
function isBuiltin(words: readonly Word[], leading: readonly number[]): boolean {
  const names = leading.map((index) => literalOf(words[index]) ?? '');
  const isPlain = bareText(words[leading.at(-1) ?? 0]) !== undefined;
  return names.length === 1 ? !isPlain : names.slice(0, -1).every((name) => /^(command|builtin)$/.test(name));
}

function behind(
  words: readonly Word[],
  from: number,
  wrapper: Wrapper,
): { index: number } | { word: Word; why: 'shell' | 'unknown_option' } {
  let positionals = wrapper.positionals ?? 0;
  let index = from + 1;
  let optionsEnded = false;
  for (; index < words.length; index += 1) {
    const word = words[index] as Word;
    const text = literalStart(word);
    const isOption = !optionsEnded && text.startsWith('-') && text !== '-';
    if (isOption) {
      if (text === '--') {
        optionsEnded = true;
        continue;
      }
      if (wrapper.toShell?.test(text)) return { word, why: 'shell' };
      const taken = optionTakes(text, literalOf(word) !== undefined, wrapper);
      if (taken === undefined) return { word, why: 'unknown_option' };
      index += taken;
      continue;
    }
    if (text === wrapper.alone && literalOf(word) === text) continue;
    if (wrapper.assignment?.test(textOf(word)) === true) continue;
    if (positionals === 0) break;
    positionals -= 1;
  }
  return { index };
}

/** The literal text of a word, whatever stands between it. */
function textOf({ segments }: Word): string {
  return segments.map((segment) => (segment.kind === 'text' ? segment.text : '$')).join('');
}

/** Returns how many more words an option takes; `undefined` for an unknown one. */
export function optionTakes(
  text: string,
  isLiteral: boolean,
  { short, long = [] }: Pick<Wrapper, 'short' | 'long'>,
): number | undefined {
  if (text.startsWith('--')) {
    const [name = '', value] = text.slice(2).split('=', 2);
    if (value !== undefined) return long.includes(name) || long.includes(`${name}=`) ? 0 : undefined;
    if (!isLiteral) return undefined;
    if (long.includes(`${name}=`)) return 1;
    return long.includes(name) ? 0 : undefined;
  }
  // `nice -5`
  if (/^-\d+$/.test(text) && short.includes('n:')) return 0;
  const letters = text.slice(1);
  for (let at = 0; at < letters.length; at += 1) {
    const place = short.indexOf(letters[at] as string);
    if (place < 0 || letters[at] === ':') return undefined;
    if (short[place + 1] === ':') return at === letters.length - 1 && isLiteral ? 1 : 0;
  }
  return isLiteral ? 0 : undefined;
}

/** Returns the program that a word names, if known: literal text, or a literal end after a variable for the folder. */
export function programName(word: Word | undefined): string | undefined {
  const literal = literalOf(word);
  if (word === undefined || word.segments.some((segment) => segment.quoting === 'ansi')) return undefined;
  const bare = word.segments.map((each) =>
    each.kind === 'text' && each.quoting === 'bare' ? each.text : '',
  );
  if (expands(bare.join('')) || literal?.includes(anyVariable) === true) return undefined;
  if (literal !== undefined) return literal;
  const last = word.segments.at(-1);
  const hasHole = word.segments.some((segment) => segment.kind !== 'text' && segment.kind !== 'parameter');
  if (hasHole || last?.kind !== 'text' || !last.text.includes('/')) return undefined;
  return last.text;
}

/** `{sh,-c}` and `/bin/s?`: more words than one, or another one. A pattern in a folder's name doesn't matter. */
function expands(text: string): boolean {
  const braces = text.slice(text.indexOf('{') + 1, Math.max(text.lastIndexOf('}'), 0));
  return (
    (text.includes('{') && /,|\.\./.test(braces)) ||
    (/[*?[]/.test(text.slice(text.lastIndexOf('/') + 1)) && !/^\[\[?$/.test(text))
  );
}

function ownWrapper(name: string): Wrapper | undefined {
  const base = baseName(name);
  if (interpreterOf(name) !== undefined) return undefined;
  return Object.hasOwn(wrappers, base) ? wrappers[base] : undefined;
}
