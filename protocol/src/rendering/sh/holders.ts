// Which variables of a script hold a value: set from a placeholder, or from another that does. Told without regard to the
// order of commands, so that a loop or a function changes nothing.
import { resolveCommand } from './resolve-command.ts';
import { commandsIn, inCommand, inInput, inSegments, inWords, listsIn, type Source } from './sources.ts';
import {
  type Command,
  type Compound,
  type List,
  literalOf,
  literalStart,
  type Script,
  type Simple,
  type Word,
} from './syntax.ts';

export interface Holder {
  /** The placeholder whose value it holds, as the author wrote it. */
  label: string;
  /** Set from the environment of the step and not by the script. */
  fromEnvironment: boolean;
}

/** `$1`, `$@` and the like are held together. */
const positional = '@';

export class Holders {
  readonly functions = new Map<string, Compound>();
  /** Variables whose value is an expression to the shell: of `declare -i`, `declare -n` and the like. */
  readonly expressions = new Set<string>();
  readonly #held = new Map<string, Holder>();
  /** The placeholder at an offset; undefined where its value can't be anything but a number or a boolean. */
  readonly #labelAt: (at: number) => string | undefined;
  #functionInput: string | undefined;

  constructor(
    script: Script,
    labelAt: (at: number) => string | undefined,
    environment: ReadonlyMap<string, string>,
  ) {
    this.#labelAt = labelAt;
    for (const [name, label] of environment) this.#held.set(name, { label, fromEnvironment: true });
    for (const command of commandsIn(script.list)) this.#declare(command);
    for (let before = -1; before !== this.#size(); ) {
      before = this.#size();
      this.#list(script.list, undefined);
    }
  }

  holds = (name: string): boolean => this.get(name) !== undefined;

  get(name: string): Holder | undefined {
    return this.#held.get(/^([1-9]\d*|[@*])$/.test(name) ? positional : name);
  }

  /** The first value among sources that can be anything. */
  labelOf(sources: Iterable<Source>): string | undefined {
    for (const source of sources) {
      const label = source.kind === 'hole' ? this.#labelAt(source.at) : this.get(source.name)?.label;
      if (label !== undefined) return label;
    }
    return undefined;
  }

  #size(): number {
    return this.#held.size + (this.#functionInput === undefined ? 0 : 1);
  }

  #declare(command: Command): void {
    if (command.kind === 'compound') {
      if (command.what === 'function' && command.name !== undefined)
        this.functions.set(command.name, command);
      return;
    }
    const [first, ...rest] = command.words.map((word) => literalStart(word));
    const isDeclaration = /^(declare|typeset|local|readonly|export)$/.test(first ?? '');
    const makesExpression =
      /^(integer|float|nameref)$/.test(first ?? '') ||
      (isDeclaration && rest.some((word) => /^-[A-Za-z]*[inEFA]/.test(word)));
    if (!makesExpression) return;
    for (const word of rest) this.expressions.add(word.replace(/[[=+].*$/s, ''));
  }

  #hold(name: string | undefined, label: string | undefined): void {
    if (name === undefined || label === undefined) return;
    const key = /^([1-9]\d*|[@*])$/.test(name) ? positional : name;
    if (this.#held.get(key)?.fromEnvironment === false) return;
    this.#held.set(key, { label, fromEnvironment: false });
  }

  #list(list: List, input: string | undefined): void {
    for (const { commands } of list.pipelines) {
      let upstream = input;
      for (const command of commands) {
        this.#command(command, upstream);
        upstream = this.labelOf(inCommand(command, this.holds)) ?? upstream;
      }
    }
  }

  #command(command: Command, upstream: string | undefined): void {
    const input = this.labelOf(inInput(command.redirects, this.holds)) ?? upstream;
    for (const list of listsIn(command))
      this.#list(list, this.#isFunction(command) ? this.#functionInput : input);
    if (command.kind === 'simple') this.#simple(command, input);
    else if (command.what === 'for')
      this.#hold(command.name, this.labelOf(inWords(command.words, this.holds)));
  }

  #isFunction(command: Command): boolean {
    return command.kind === 'compound' && command.what === 'function';
  }

  #simple(command: Simple, input: string | undefined): void {
    for (const word of command.assignments) this.#assignment(word);
    const { name, index } = resolveCommand(command.words);
    const arguments_ = command.words.slice(index + 1);
    if (name === undefined) return;
    const isFunction = this.functions.has(name);
    if (isFunction && input !== undefined) this.#functionInput = input;
    if (isFunction || name === 'set') this.#hold(positional, this.labelOf(inWords(arguments_, this.holds)));
    if (/^(export|readonly|declare|typeset|local|env|sudo)$/.test(name)) {
      for (const word of arguments_) this.#assignment(word);
    }
    for (const word of command.words.slice(0, index)) this.#assignment(word);
    if (name === 'printf' && /^-v/.test(literalOf(arguments_[0]) ?? '')) {
      this.#hold(literalOf(arguments_[1]), this.labelOf(inWords(arguments_.slice(2), this.holds)));
    }
    if (/^(read|mapfile|readarray)$/.test(name)) {
      for (const word of arguments_) this.#hold(literalOf(word)?.replace(/\[.*$/s, ''), input);
      this.#hold(name === 'read' ? 'REPLY' : 'MAPFILE', input);
    }
  }

  #assignment(word: Word): void {
    const name = /^([A-Za-z_]\w*)(?:\+?=|$)/.exec(literalStart(word))?.[1];
    if (name === undefined) return;
    const isSubscript = word.segments[1]?.kind === 'group';
    if (!isSubscript && !/^[A-Za-z_]\w*\+?=/.test(literalStart(word))) return;
    this.#hold(name, this.labelOf(inSegments(word.segments, this.holds)));
  }
}
