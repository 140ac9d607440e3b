// Decides for each placeholder of a batch script whether its value may stand there. Accepted values are inserted by
// delayed expansion, after a line has been parsed; refused is everything that parses text a second time.

import type { Analysis, Hole, Site } from '../sites/sites.ts';
import { type Reason, Verdicts } from '../sites/verdicts.ts';
import { conditionIn, emptyWord, headOf, interpreterReason, isUnknown, nameOf } from './command-names.ts';
import {
  type BatchScript,
  type Command,
  type Piece,
  readBatch,
  textOfWord,
  type Word,
} from './read-batch.ts';
import { type ReasonName, reasons } from './reasons.ts';

const filesCommands = new Set(
  'del erase copy move ren rename rd rmdir md mkdir xcopy attrib dir type cd chdir pushd icacls takeown'.split(
    ' ',
  ),
);
const namesThatRun = new Set('path pathext comspec prompt systemroot windir dircmd copycmd'.split(' '));

/** @param environment Variables that the step's environment sets from placeholders, with these as written. */
export function analyzeCmd(
  text: string,
  holes: readonly Hole[],
  environment: ReadonlyMap<string, string> = new Map(),
): Analysis {
  return new CmdAnalysis(readBatch(text), holes, environment).result();
}

class CmdAnalysis {
  readonly #script: BatchScript;
  readonly #verdicts: Verdicts;
  /** Variables whose value can be arbitrary text, with the placeholder that it comes from. */
  readonly #held: Map<string, string>;
  /** Variables that the script sets from a placeholder. Their text means nothing to cmd.exe, except where it is run. */
  readonly #ofScript = new Map<string, string>();
  /** Each `!NAME!`, by the command that contains it. */
  readonly #delayed = new Map<Command, { name: string; at: number }[]>();

  constructor(script: BatchScript, holes: readonly Hole[], environment: ReadonlyMap<string, string>) {
    this.#script = script;
    this.#verdicts = new Verdicts(holes, reasons);
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
    for (const { char, at } of this.#verdicts.hasHoles || this.#held.size > 0 ? marks : [])
      this.#refuseMark(char, at);
    return this.#verdicts.conclude();
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
      const label = this.#verdicts.labelAt(at);
      if (label !== undefined) this.#ofScript.set(name, label);
    }
    for (const { name: from } of variablesIn(words)) {
      const known = flows.get(from);
      if (known === undefined) flows.set(from, [name]);
      else known.push(name);
    }
  }

  #refuse(at: number, reason: ReasonName): void {
    this.#verdicts.refuseHole(at, reasons[reason]);
  }

  #refuseExpanded(at: number, name: string, label: string): void {
    const variable = name.toUpperCase();
    this.#verdicts.refuseText({
      at,
      message: `%${variable}%, which holds the value of ${label}, is put into the line before that is read`,
      fix: `Write !${variable}!, which is put in after the line has been read.`,
    });
  }

  #refuseMark(char: '!' | '^', at: number): void {
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
    this.#verdicts.refuseText({ at, ...said });
  }

  #refuseAll(command: Command, reason: ReasonName): void {
    this.#refuseWords([...command.words, ...command.redirects], command, reasons[reason]);
  }

  /** Refuses placeholders in the words, and variables in the command that hold a value. */
  #refuseWords(words: readonly Word[], command: Command, reason: Reason): void {
    for (const { at } of holesIn(words)) this.#verdicts.refuseHole(at, reason);
    for (const { name, shown, at } of variablesIn(words))
      this.#refuseVariable(at, shown, this.#ofScript.get(name), reason);
    for (const { name, at } of this.#delayed.get(command) ?? [])
      this.#refuseVariable(at, `!${name.toUpperCase()}!`, this.#held.get(name), reason);
  }

  /** @param label The placeholder whose value it holds, if it holds one. */
  #refuseVariable(at: number, shown: string, label: string | undefined, reason: Reason): void {
    if (label === undefined) return;
    const subject = `${shown}, which holds the value of ${label},`;
    this.#verdicts.refuseVariable(at, { subject, shown }, reason);
  }

  #command(command: Command): void {
    const { words } = command;
    const at = headOf(words, (from) => this.#condition(words, from, command));
    const [head, ...rest] = words.slice(at);
    if (head === undefined) return;
    // As if of another command: what stands elsewhere in this one does not decide which it is.
    this.#refuseWords([head], { ...command }, reasons.command);
    if (isUnknown(head)) this.#refuseWords(rest, command, reasons.unknown_command);
    this.#arguments(nameOf(head), rest, command);
  }

  #condition(words: readonly Word[], from: number, command: Command): void {
    const { at, what, end } = conditionIn(words, from);
    // A comma or a semicolon ends the condition too, so that a command follows in the same word.
    if (
      words
        .slice(at, end)
        .some(({ pieces }) => pieces.some(({ text, quoted }) => !quoted && /[,;]/.test(text)))
    )
      this.#refuseWords(words, command, reasons.unknown_command);
    for (const { at: hole, quoted } of holesIn(words.slice(at, end))) {
      if (what === 'defined') this.#refuse(hole, 'defined');
      else if (!quoted && !this.#verdicts.isInert(hole)) this.#refuse(hole, 'condition');
    }
    for (const word of words.slice(at, end)) this.#accept(word, {});
  }

  #arguments(name: string, words: readonly Word[], command: Command): void {
    if (name === 'rem') for (const { at } of holesIn(words)) this.#refuse(at, 'comment');
    const reread = name === 'call' || name === 'goto' ? reasons[name] : interpreterReason(name, words);
    if (reread !== undefined) this.#refuseWords(words, command, reread);
    // `path …` is `set PATH=…`; `ftype …` says what opens a file.
    if (name === 'path' || name === 'ftype') this.#refuseWords(words, command, reasons.special_name);
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
          if (!this.#verdicts.isInert(piece.at)) this.#refuse(piece.at, 'arithmetic');
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
      this.#verdicts.accept(piece.at, { as: piece.quoted ? 'quoted' : 'word', mayBeOption, ...more });
    }
  }
}

function* holesIn(words: readonly Word[]): Generator<Piece> {
  for (const { pieces } of words) for (const piece of pieces) if (piece.kind === 'hole') yield piece;
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
