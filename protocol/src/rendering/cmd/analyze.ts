// Decides for each placeholder of a batch script whether its value may stand there. Accepted values are inserted by
// delayed expansion, after a line has been parsed; refused is everything that parses text a second time.

import { powershellInterpreters } from '../powershell/commands.ts';
import { interpreterOf } from '../sh/commands/interpreters.ts';
import type { Reason } from '../sh/refusals.ts';
import { concludeAnalysis } from '../sites/conclude-analysis.ts';
import type { Analysis, Hole, Refusal, Site } from '../sites/sites.ts';
import {
  type BatchScript,
  type Command,
  type Piece,
  readBatch,
  textOfWord,
  type Word,
} from './read-lines.ts';

const reasons = {
  comment: {
    why: 'stands in a comment, where it has no effect',
    fix: () => `Take it out of the comment, or write ${'$$'}{{ for the text.`,
  },
  escaped: {
    why: 'stands after a caret, which would quote the reference to its value',
    fix: () => 'Remove the caret, or write two of them.',
  },
  percent: {
    why: 'stands between two percent signs, where the name of a variable is',
    fix: () => 'Write %% for a percent sign.',
  },
  command: {
    why: 'decides which command runs',
    fix: (label) =>
      `Name the commands yourself: if "${label}"=="start" ( … ) else if "${label}"=="stop" ( … ).`,
  },
  pipe: {
    why: 'stands on a line with a pipe, each side of which another cmd.exe reads again',
    fix: () =>
      'Write the output to a file and read that: command > "%TEMP%\\x.txt" and then find "…" < "%TEMP%\\x.txt".',
  },
  for: {
    why: 'stands in what for goes over, which it reads again',
    fix: (label) => `Set a variable before it, or call the command without for: if "${label}"=="…".`,
  },
  call: {
    why: 'is an argument of call, which reads the line again',
    fix: () => 'Set a variable, and use it in the part that is called: set "NAME=…".',
  },
  goto: {
    why: 'decides where the script goes on',
    fix: (label) => `Write if "${label}"=="…" goto … for each.`,
  },
  arithmetic: {
    why: 'is not a number and stands in arithmetic',
    fix: () => 'Declare the parameter as an integer.',
  },
  unknown_command: {
    why: 'is an argument of a command that is only known when the script runs',
    fix: () =>
      'Write the name of the command itself; a folder in front of it may be a variable: "%DIR%\\program.exe".',
  },
  set_name: {
    why: 'decides which variable is set',
    fix: (label) => `Use a name of your own: set "NAME=${label}".`,
  },
  defined: {
    why: 'is taken for the name of a variable',
    fix: (label) => `Ask whether it is empty: if "${label}"=="".`,
  },
  condition: {
    why: 'stands unquoted in a condition',
    fix: (label) => `Put both sides in double quotes: if "${label}"=="…".`,
  },
  special_name: {
    why: 'would set a variable that tells programs what to run',
    fix: () => 'Use a name of your own.',
  },
  structure: {
    why: 'is a list or an object, which a script can’t represent',
    fix: () => 'Refer to one of its items, or set it in the environment of the step, where it becomes JSON.',
  },
  elsewhere: {
    why: 'stands where a value is not known to be safe',
    fix: (label) => `Use it as an argument in double quotes: command "${label}".`,
  },
} as const satisfies Record<string, Reason>;
type ReasonName = keyof typeof reasons;

const filesCommands = new Set(
  'del erase copy move ren rename rd rmdir md mkdir xcopy attrib dir type cd chdir pushd icacls takeown'.split(
    ' ',
  ),
);
const namesThatRun = new Set('path pathext comspec prompt systemroot windir dircmd copycmd'.split(' '));
const interpreters = new Map(
  powershellInterpreters.flatMap((each) => each.names.map((name) => [name, each.why] as const)),
);

export function analyzeCmd(
  text: string,
  holes: readonly Hole[],
  environment: ReadonlyMap<string, string> = new Map(),
): Analysis {
  return new CmdAnalysis(readBatch(text), holes, environment).result();
}

class CmdAnalysis {
  readonly #script: BatchScript;
  readonly #holes: ReadonlyMap<number, Hole>;
  /** Variables whose value can be arbitrary text, with the placeholder that it comes from. */
  readonly #held: Map<string, string>;
  /** Variables that the script sets from a placeholder. Their text means nothing to cmd.exe, except where it is run. */
  readonly #ofScript = new Map<string, string>();
  /** Each `!NAME!`, by the command that contains it. */
  readonly #delayed = new Map<Command, { name: string; at: number }[]>();
  readonly #sites = new Map<number, Site>();
  readonly #refusals = new Map<number, Refusal>();

  constructor(script: BatchScript, holes: readonly Hole[], environment: ReadonlyMap<string, string>) {
    this.#script = script;
    this.#holes = new Map(holes.map((hole) => [hole.at, hole]));
    this.#held = new Map([...environment].map(([name, label]) => [name.toLowerCase(), label]));
    this.#follow();
  }

  result(): Analysis {
    const { commands, commented, expanded, marks, hasPipedBlock } = this.#script;
    for (const at of commented) this.#refuse(at, 'comment');
    for (const { name, at, holes } of expanded) {
      for (const hole of holes) this.#refuse(hole, 'percent');
      const label = this.#held.get(name);
      if (label !== undefined) this.#refuseExpanded(at, name, label);
    }
    let inSet = false;
    for (const command of commands) {
      if (hasPipedBlock || command.piped) this.#refuseAll(command, 'pipe');
      if (nameOf(command.words[0]) === 'do') inSet = false;
      // Also behind `do`, `else` and `if …`.
      const isFor = nameOf(command.words[headOf(command.words)]) === 'for';
      if (isFor) inSet = true;
      if (inSet) this.#refuseAll(command, 'for');
      else this.#command(command);
      for (const word of command.redirects) this.#accept(word, { isPath: true });
    }
    for (const { char, at } of this.#holes.size + this.#held.size > 0 ? marks : [])
      this.#refuseMark(char, at);
    return concludeAnalysis({
      holes: this.#holes,
      sites: this.#sites,
      refusals: this.#refusals,
      keyOf: (at) => at,
      refuse: (at, reason) => this.#refuse(at, reason),
    });
  }

  /** `set "b=!a!"` passes on the value of `a`. */
  #follow(): void {
    const flows = new Map<string, string[]>();
    const setBy = new Map<Command, string>();
    const flowsOfSet = new Map<string, string[]>();
    for (const command of this.#script.commands) {
      const at = command.words.findIndex((word) => nameOf(word) === 'set');
      const words = at < 0 ? [] : command.words.slice(at + 1);
      const assigned = words.map(textOfWord).join(' ');
      const name = /^"?(?:\/[ap]\s*)?"?([^=]+)=/i.exec(assigned)?.[1]?.toLowerCase();
      if (name === undefined) continue;
      setBy.set(command, name);
      this.#setFrom(name, words, flowsOfSet);
    }
    for (const { name, at, command } of this.#script.delayed) {
      const own = this.#delayed.get(command);
      if (own === undefined) this.#delayed.set(command, [{ name, at }]);
      else own.push({ name, at });
      const to = setBy.get(command);
      if (to === undefined) continue;
      const known = flows.get(name);
      if (known === undefined) flows.set(name, [to]);
      else known.push(to);
    }
    follow(this.#held, flows);
    follow(this.#ofScript, flowsOfSet);
  }

  /** For `set "name=…"`: records the placeholders and variables after the equals sign. */
  #setFrom(name: string, words: readonly Word[], flows: Map<string, string[]>): void {
    for (const { at } of holesIn(words)) {
      const label = this.#holes.get(at)?.label;
      if (label !== undefined && !this.#isInert(at)) this.#ofScript.set(name, label);
    }
    for (const { name: from } of variablesIn(words)) {
      const known = flows.get(from);
      if (known === undefined) flows.set(from, [name]);
      else known.push(name);
    }
  }

  #refuse(at: number, reason: ReasonName): void {
    const { why, fix } = reasons[reason];
    this.#refuseFor(at, why, fix);
  }

  #refuseFor(at: number, why: string, fix: (label: string) => string): void {
    if (this.#refusals.has(at)) return;
    const label = this.#holes.get(at)?.label ?? 'The placeholder';
    this.#refusals.set(at, { at, message: `${label} ${why}`, fix: fix(label) });
  }

  #refuseExpanded(at: number, name: string, label: string): void {
    const message = `%${name.toUpperCase()}%, which holds the value of ${label}, is put into the line before that is read`;
    this.#refusals.set(at, {
      at,
      message,
      fix: `Write !${name.toUpperCase()}!, which is put in after the line has been read.`,
    });
  }

  #refuseMark(char: '!' | '^', at: number): void {
    if (this.#refusals.has(at)) return;
    const said =
      char === '!'
        ? {
            message: 'An exclamation mark stands here, which cmd.exe removes in a script with values',
            fix: 'Write ^^! for it, and ^! in double quotes; !NAME! is the value of a variable.',
          }
        : {
            message: 'A caret stands in double quotes, which cmd.exe removes on a line with values',
            fix: 'Write two of them: ^^.',
          };
    this.#refusals.set(at, { at, ...said });
  }

  #refuseAll(command: Command, reason: ReasonName): void {
    const { why, fix } = reasons[reason];
    this.#refuseWords([...command.words, ...command.redirects], command, why, fix);
  }

  /** Refuses placeholders in the words, and variables in the command that hold a value. */
  #refuseWords(words: readonly Word[], command: Command, why: string, fix: (label: string) => string): void {
    for (const { at } of holesIn(words)) this.#refuseFor(at, why, fix);
    for (const { name, shown, at } of variablesIn(words)) {
      const label = this.#ofScript.get(name);
      if (label === undefined || this.#refusals.has(at)) continue;
      const message = `${shown}, which holds the value of ${label}, ${why}`;
      this.#refusals.set(at, { at, message, fix: fix(shown) });
    }
    for (const { name, at } of this.#delayed.get(command) ?? []) {
      const label = this.#held.get(name);
      if (label === undefined || this.#refusals.has(at)) continue;
      const shown = `!${name.toUpperCase()}!`;
      this.#refusals.set(at, {
        at,
        message: `${shown}, which holds the value of ${label}, ${why}`,
        fix: fix(shown),
      });
    }
  }

  #command(command: Command): void {
    const { words } = command;
    const at = headOf(words, (from) => this.#condition(words, from, command));
    const [head, ...rest] = words.slice(at);
    if (head === undefined) return;
    const { why, fix } = reasons.command;
    this.#refuseWords([head], { ...command }, why, fix);
    if (isUnknown(head)) {
      const { why: unknown, fix: known } = reasons.unknown_command;
      this.#refuseWords(rest, command, unknown, known);
    }
    this.#arguments(nameOf(head), rest, command);
  }

  #condition(words: readonly Word[], from: number, command: Command): void {
    const { at, what, end } = conditionIn(words, from);
    // A comma or a semicolon ends the condition too, so that a command follows in the same word.
    if (
      words
        .slice(at, end)
        .some(({ pieces }) => pieces.some(({ text, quoted }) => !quoted && /[,;]/.test(text)))
    ) {
      const { why, fix } = reasons.unknown_command;
      this.#refuseWords(words, command, why, fix);
    }
    for (const { at: hole, quoted } of holesIn(words.slice(at, end))) {
      if (what === 'defined') this.#refuse(hole, 'defined');
      else if (!quoted && !this.#isInert(hole)) this.#refuse(hole, 'condition');
    }
    for (const word of words.slice(at, end)) this.#accept(word, {});
  }

  #arguments(name: string, words: readonly Word[], command: Command): void {
    if (name === 'rem') for (const { at } of holesIn(words)) this.#refuse(at, 'comment');
    const reread = name === 'call' || name === 'goto' ? reasons[name] : interpreterReason(name);
    if (reread !== undefined) this.#refuseWords(words, command, reread.why, reread.fix);
    if (name === 'set')
      this.#set(words, /^[^=]*\/a/i.test(textOfWord(command.words[headOf(command.words)] ?? emptyWord)));
    const isFree = name === 'echo' || name === 'set' || name === 'title';
    for (const word of words) {
      this.#accept(word, {
        isPath: filesCommands.has(name),
        ...(isFree ? {} : { toProgram: 'exe' as const }),
      });
    }
  }

  /** @param isAttached Whether it is `set/a`. */
  #set(words: readonly Word[], isAttached: boolean): void {
    const isArithmetic = isAttached || /^"?\/a/i.test(textOfWord(words[0] ?? emptyWord));
    const assigned = /^"?([^=]*)(=)?/.exec(words.map(textOfWord).join(' '));
    const isName = namesThatRun.has(assigned?.[1]?.trim().toLowerCase() ?? '');
    let hasEquals = false;
    for (const { pieces } of words) {
      for (const piece of pieces) {
        if (piece.kind === 'text') hasEquals ||= piece.text.includes('=');
        else if (isArithmetic) {
          if (!this.#isInert(piece.at)) this.#refuse(piece.at, 'arithmetic');
        } else if (!hasEquals) this.#refuse(piece.at, 'set_name');
        else if (isName) this.#refuse(piece.at, 'special_name');
      }
    }
  }

  #accept(word: Word, more: Partial<Site>): void {
    let isFirst = true;
    for (const piece of word.pieces) {
      if (piece.kind === 'text') isFirst &&= piece.text === '"';
      if (piece.kind !== 'hole') continue;
      if (piece.escaped) this.#refuse(piece.at, 'escaped');
      const mayBeOption = more.toProgram !== undefined && isFirst;
      this.#sites.set(piece.at, { as: piece.quoted ? 'quoted' : 'word', mayBeOption, ...more });
    }
  }

  #isInert(at: number): boolean {
    return ['integer', 'number', 'boolean'].includes(this.#holes.get(at)?.type ?? '');
  }
}

const emptyWord: Word = { pieces: [], at: 0 };

function* holesIn(words: readonly Word[]): Generator<Piece> {
  for (const { pieces } of words) for (const piece of pieces) if (piece.kind === 'hole') yield piece;
}

/** Returns how many words a comparison has: `a==b`, `a == b`, `a equ b`. */
function conditionLength(words: readonly Word[], at: number): number {
  const [first = '', second = ''] = words.slice(at, at + 2).map(textOfWord);
  if (/^(equ|neq|lss|leq|gtr|geq)$/i.test(second) || second === '==') return 3;
  if (first.endsWith('==') || second.startsWith('==')) return 2;
  return 1;
}

/** Returns where the condition behind an `if` begins and ends, and its first word. */
function conditionIn(words: readonly Word[], from: number): { at: number; what: string; end: number } {
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
function headOf(words: readonly Word[], onCondition: (from: number) => void = () => {}): number {
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

function interpreterReason(name: string): Reason | undefined {
  const found = interpreterOf(name);
  const why = interpreters.get(name) ?? (found?.arguments === 'test' ? undefined : found?.why);
  if (why === undefined || builtIns.has(name)) return undefined;
  return {
    why: `is an argument of ${name}, which ${why}`,
    fix: () => 'Set it in the environment of the step, where the program finds it by its name.',
  };
}
/** Names of built-in commands of cmd.exe that mean something else in a Unix shell. */
const builtIns = new Set(['set', 'echo', 'exit', 'break', 'find', 'more', 'type', 'print', 'title']);

/** Commands that cmd.exe recognizes however they are written: `call:part`, `start/b`. */
const ownWords = new Set('call goto start for if do else set rem echo exit cd title'.split(' '));

/**
 * Returns the program that a word names, without folder, quotes and extension. A name ends at a comma, a semicolon or
 * an equals sign, and may end at a slash or a quote: if that gives a known name, it is preferred.
 */
function nameOf(word: Word | undefined): string {
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
  return cut
    .slice(Math.max(cut.lastIndexOf('\\'), cut.lastIndexOf('/')) + 1)
    .replace(/^@+/, '')
    .replace(/[."]+$/, '')
    .replace(/\.(exe|com|bat|cmd)$/, '')
    .replace(/^(echo|set|call|cd|if|rem|start|goto)[.:+(].*$/, '$1');
}

/** Whether the program is named by a variable: `%COMSPEC%`, `!tool!`, `%1`. */
function isUnknown(head: Word): boolean {
  const text = textOfWord(head);
  return /%|!/.test(text.slice(text.lastIndexOf('\\') + 1));
}

/** Finds `%NAME%` and `!NAME!` in words. */
function* variablesIn(words: readonly Word[]): Generator<{ name: string; shown: string; at: number }> {
  for (const { pieces } of words) {
    for (const { kind, text, at } of pieces) {
      if (kind === 'hole' || !/[%!]/.test(text)) continue;
      for (const found of text.matchAll(/([%!])([A-Za-z_][\w.-]*)(?::[^%!]*)?\1/g)) {
        yield { name: (found[2] as string).toLowerCase(), shown: found[0], at: at + found.index };
      }
    }
  }
}

/** Propagates held values along the flows. */
function follow(held: Map<string, string>, flows: ReadonlyMap<string, readonly string[]>): void {
  const fresh = [...held.keys()];
  for (let from = fresh.pop(); from !== undefined; from = fresh.pop()) {
    for (const to of flows.get(from) ?? []) {
      if (held.has(to)) continue;
      held.set(to, held.get(from) as string);
      fresh.push(to);
    }
  }
}
