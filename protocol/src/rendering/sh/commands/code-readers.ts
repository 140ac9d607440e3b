// Determines which commands run what arrives on their standard input.

import {
  type Command,
  type Compound,
  type List,
  literalOf,
  type Simple,
  type Word,
} from '../reading/syntax.ts';
import { commandsIn, fileOf, filesWritten, listsIn } from '../sources.ts';
import { launchedBy } from './commands-behind.ts';
import { type Interpreter, interpreterOf } from './interpreters.ts';
import { resolveCommand } from './resolve-command.ts';

export interface CodeReader extends Pick<Interpreter, 'why' | 'fix'> {
  name: string;
}

/** What a command does with its input: a reader of code inside it, or calls of functions that may contain one. */
interface Within {
  reader?: CodeReader;
  calls: string[];
}

export class CodeReaders {
  readonly #functions: ReadonlyMap<string, Compound>;
  readonly #aliases: ReadonlySet<string>;
  readonly #ofFunction = new Map<string, CodeReader>();
  readonly #of = new Map<Command, Within>();
  readonly #inList = new Map<List, Within>();
  /** Files that the script runs. */
  readonly #scripts: ReadonlySet<string>;

  /** @param aliases Names of commands that may stand for any. */
  constructor(list: List, functions: ReadonlyMap<string, Compound>, aliases: ReadonlySet<string>) {
    this.#scripts = new Set(scriptsRunBy(list));
    this.#functions = functions;
    this.#aliases = aliases;
    const callers = new Map<string, string[]>();
    const reached: string[] = [];
    const reach = (name: string, reader: CodeReader) => {
      if (this.#ofFunction.has(name)) return;
      this.#ofFunction.set(name, reader);
      reached.push(name);
    };
    for (const [name, body] of functions) {
      const { reader, calls } = this.#within(body);
      if (reader !== undefined) reach(name, reader);
      for (const called of calls) {
        const known = callers.get(called);
        if (known === undefined) callers.set(called, [name]);
        else known.push(name);
      }
    }
    for (let name = reached.pop(); name !== undefined; name = reached.pop()) {
      const reader = this.#ofFunction.get(name) as CodeReader;
      for (const caller of callers.get(name) ?? []) reach(caller, reader);
    }
  }

  /** Returns the interpreter within a command that would run its input, or `undefined`. */
  of(command: Command): CodeReader | undefined {
    // Declaring a function doesn't run it.
    if (command.kind === 'compound' && command.what === 'function') return undefined;
    return this.#readerOf(this.#within(command));
  }

  #readerOf({ reader, calls }: Within): CodeReader | undefined {
    if (reader !== undefined) return reader;
    const called = calls.find((name) => this.#ofFunction.has(name));
    return called === undefined ? undefined : this.#ofFunction.get(called);
  }

  /** Returns what runs the output of a command: `tee >(sh)`, `… > >(sh)`, or `… >file` before `sh file`. */
  ofOutputs(command: Command): CodeReader | undefined {
    const file = filesWritten(command).find((written) => this.#scripts.has(written));
    if (file !== undefined) return { name: file, why: 'the script runs' };
    for (const list of outputsOf(command)) {
      const reader = this.#readerOf(this.#ofList(list));
      if (reader !== undefined) return reader;
    }
    return undefined;
  }

  #within(command: Command): Within {
    const before = this.#of.get(command);
    if (before !== undefined) return before;
    const found =
      command.kind === 'simple' ? this.#ofSimple(command) : this.#ofLists(command.lists, new Set());
    this.#of.set(command, found);
    return found;
  }

  #ofLists(lists: Iterable<List>, calls: Set<string>): Within {
    for (const list of lists) {
      const { reader, calls: more } = this.#ofList(list);
      if (reader !== undefined) return { reader, calls: [] };
      for (const name of more) calls.add(name);
    }
    return { calls: [...calls] };
  }

  /** Of the commands in a list at any depth. Kept, as each command around the list asks for it. */
  #ofList(list: List): Within {
    const before = this.#inList.get(list);
    if (before !== undefined) return before;
    const found = this.#readList(list);
    this.#inList.set(list, found);
    return found;
  }

  #readList(list: List): Within {
    const calls = new Set<string>();
    for (const { commands } of list.pipelines) {
      for (const command of commands) {
        const within =
          command.kind === 'simple' ? this.#within(command) : this.#ofLists(listsIn(command), new Set());
        if (within.reader !== undefined) return { reader: within.reader, calls: [] };
        for (const name of within.calls) calls.add(name);
      }
    }
    return { calls: [...calls] };
  }

  /** A command, and those in its words, which have the same input: `echo "$(sh)"`. */
  #ofSimple(command: Simple): Within {
    const own = this.#ofWords(command.words);
    return own.reader === undefined ? this.#ofLists(listsIn(command), new Set(own.calls)) : own;
  }

  /** Of a command, and of those that it launches. */
  #ofWords(words: readonly Word[]): Within {
    const launched = launchedBy(words);
    const calls: string[] = [];
    for (const command of [words, ...(launched ?? [])]) {
      const { reader, calls: more } = this.#ofCommand(command);
      if (reader !== undefined) return { reader, calls: [] };
      calls.push(...more);
    }
    if (launched !== undefined) return { calls };
    return { reader: { name: literalOf(words[0]) ?? 'a command', why: 'may run it' }, calls: [] };
  }

  #ofCommand(words: readonly Word[]): Within {
    if (words.length === 0) return { calls: [] };
    const { name, index, leading, obstacle } = resolveCommand(words);
    const isAlias = leading.some((at) => this.#aliases.has(literalOf(words[at]) ?? ''));
    if (obstacle !== undefined) {
      return { reader: { name: obstacle.wrapper, why: 'may hand it to a shell here' }, calls: [] };
    }
    if (name === undefined || isAlias) {
      const reader = {
        name: 'a command that is only known when the script runs',
        why: 'may run it',
        fix: 'Write the name of the command itself.',
      };
      return { reader, calls: [] };
    }
    const calls = this.#functions.has(name) ? [name] : [];
    const interpreter = interpreterOf(name);
    if (interpreter === undefined || !runsInput(interpreter, words.slice(index + 1).map(literalOf))) {
      return { calls };
    }
    const { why, fix } = interpreter;
    return { reader: { name, why, ...(fix === undefined ? {} : { fix }) }, calls: [] };
  }
}

/** Yields the files that commands run by their name, or hand to an interpreter or to `.`. */
function* scriptsRunBy(list: List): Generator<string> {
  for (const command of commandsIn(list)) {
    if (command.kind !== 'simple' || command.words.length === 0) continue;
    for (const words of [command.words, ...(launchedBy(command.words) ?? [])]) yield* scriptsNamedIn(words);
  }
}

function* scriptsNamedIn(words: readonly Word[]): Generator<string> {
  const { name, index } = resolveCommand(words);
  const called = fileOf(words[index]);
  if (called !== undefined && name?.includes('/') === true) yield called;
  const interpreter = name === undefined ? undefined : interpreterOf(name);
  if (interpreter?.arguments !== 'script' && interpreter?.names.includes('.') !== true) return;
  const file = fileOf(words.slice(index + 1).find((word) => !/^[-+]/.test(literalOf(word) ?? '')));
  if (file !== undefined) yield file;
}

/** Yields the commands of `>(…)` in a command, which read what it prints. */
export function* outputsOf({ words, redirects }: Command): Generator<List> {
  for (const { segments } of [...words, ...redirects.map(({ word }) => word)])
    for (const segment of segments)
      if (segment.kind === 'command' && segment.isOutput === true) yield segment.body;
}

function runsInput(interpreter: Interpreter, texts: readonly (string | undefined)[]): boolean {
  if (interpreter.input === 'data') return false;
  if (interpreter.arguments === 'after' && !texts.some((text) => interpreter.after?.test(text ?? ''))) {
    return false;
  }
  return interpreter.input !== 'code_without_program' || !bringsProgram(interpreter, texts);
}

/** `python3 -c '…'` and `python3 script.py` leave the input to that program. */
function bringsProgram({ harmless }: Interpreter, texts: readonly (string | undefined)[]): boolean {
  const first = texts.find((text) => !(harmless?.test(text ?? '') ?? false));
  if (first === undefined) return false;
  if (/^-(c|e|E|r|ne|pe|le|lne|n|p|-eval|-print)$/.test(first)) return true;
  return !first.startsWith('-') && !/^\/dev\/(stdin|fd\/0)$/.test(first);
}
