// Which command a line of a batch script names, and whether what it gets is read as code.
import { powershellInterpreters } from '../powershell/commands.ts';
import { interpreterOf, runsSomething } from '../sh/commands/interpreters.ts';
import type { Reason } from '../sites/verdicts.ts';
import { textOfWord, type Word } from './read-batch.ts';

const interpreters = new Map(
  powershellInterpreters.flatMap((each) => each.names.map((name) => [name, each.why] as const)),
);

export const emptyWord: Word = { pieces: [], at: 0 };

/** Returns how many words a comparison has: `a==b`, `a == b`, `a equ b`. */
function conditionLength(words: readonly Word[], at: number): number {
  const [first = '', second = ''] = words.slice(at, at + 2).map(textOfWord);
  if (/^(equ|neq|lss|leq|gtr|geq)$/i.test(second) || second === '==') return 3;
  if (first.endsWith('==') || second.startsWith('==')) return 2;
  return 1;
}

/** Returns where the condition behind an `if` begins and ends, and its first word. */
export function conditionIn(words: readonly Word[], from: number): { at: number; what: string; end: number } {
  let at = from;
  while (/^(not|\/i)$/i.test(textOfWord(words[at] ?? emptyWord))) at += 1;
  const what = textOfWord(words[at] ?? emptyWord).toLowerCase();
  const isQuestion = /^(exist|defined|errorlevel|cmdextversion)$/.test(what);
  return { at, what, end: at + (isQuestion ? 2 : conditionLength(words, at)) };
}

/**
 * Returns the index of the word that names a command, behind `do`, `else` and `if …`.
 *
 * @param onCondition Called for each `if`, with the index of the next word.
 */
export function headOf(words: readonly Word[], onCondition: (from: number) => void = () => {}): number {
  for (let at = 0; at < words.length; ) {
    const name = nameOf(words[at]);
    if (name === 'do' || name === 'else') at += 1;
    else if (name === 'if') {
      onCondition(at + 1);
      at = conditionIn(words, at + 1).end;
    } else return at;
  }
  return words.length;
}

/**
 * Returns why no value may be an argument of this program, if it reads them as code.
 *
 * @param words Its arguments, if they are known.
 */
export function interpreterReason(name: string, words?: readonly Word[]): Reason | undefined {
  const found = interpreterOf(name);
  const isHarmless =
    found === undefined ||
    found.arguments === 'test' ||
    (words !== undefined && !runsSomething(found, words.map(plainText)));
  const why = interpreters.get(name) ?? (isHarmless ? undefined : found.why);
  if (why === undefined || builtIns.has(name)) return undefined;
  return {
    why: `is an argument of ${name}, which ${why}`,
    fix: () => 'Set it in the environment of the step, where the program finds it by its name.',
  };
}
/** The text of a word if all of it is known. */
function plainText(word: Word): string | undefined {
  const text = textOfWord(word).toLowerCase();
  return word.pieces.every(({ kind }) => kind === 'text') && !/[%!]/.test(text)
    ? text.replaceAll('"', '')
    : undefined;
}

/** Names of commands of Windows that mean something else in a Unix shell. */
const builtIns = new Set([
  'set',
  'echo',
  'exit',
  'break',
  'find',
  'more',
  'type',
  'print',
  'title',
  'convert',
]);

/** Commands that cmd.exe recognizes however they are written: `call:part`, `start/b`. */
const ownWords = new Set('call goto start for if do else set rem echo exit cd title'.split(' '));

/**
 * Returns the program that a word names, without folder, quotes and extension. A name ends at a comma, a semicolon or
 * an equals sign, and may end at a slash or a quote: if that gives a known name, it is preferred.
 */
export function nameOf(word: Word | undefined): string {
  const text =
    word === undefined
      ? ''
      : textOfWord(word)
          .toLowerCase()
          .replace(/^[@,;=]+/, '');
  const whole = baseOf(text.replaceAll('"', ''));
  const shorter = [text.replace(/(?<=.)".*$/s, ''), text.replaceAll('"', '').replace(/\/.*$/s, '')].map(
    baseOf,
  );
  const isKnown = (name: string) => ownWords.has(name) || interpreterReason(name) !== undefined;
  return [whole, ...shorter].find(isKnown) ?? whole;
}

function baseOf(text: string): string {
  const cut = text.replace(/(?<=.)[,;=].*$/s, '');
  return withoutEnd(cut.slice(Math.max(cut.lastIndexOf('\\'), cut.lastIndexOf('/')) + 1).replace(/^@+/, ''))
    .replace(/\.(exe|com|bat|cmd)$/, '')
    .replace(/^(echo|set|call|cd|if|rem|start|goto)[.:+(].*$/, '$1');
}

/** Cuts off dots and quotes. A pattern would begin anew at each of very many that are not at the end. */
function withoutEnd(text: string): string {
  let end = text.length;
  while (end > 0 && /[."]/.test(text.charAt(end - 1))) end--;
  return text.slice(0, end);
}

/** Whether the program is named by a variable: `%COMSPEC%`, `!tool!`, `%1`. */
export function isUnknown(head: Word): boolean {
  const text = textOfWord(head);
  return /%|!/.test(text.slice(text.lastIndexOf('\\') + 1));
}
