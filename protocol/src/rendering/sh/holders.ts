// Determines which variables of a script hold a value: set from a placeholder, or from another such variable. Ignores
// the order of commands, so that loops and functions need no special treatment.

import { commandBehind, resolveCommand } from './commands/resolve-command.ts';
import { variablesSet } from './commands/variables-set.ts';
import {
  anyVariable,
  bareText,
  type Command,
  type Compound,
  type List,
  literalOf,
  literalStart,
  type Script,
  type Simple,
  type Word,
} from './reading/syntax.ts';
import { ownArguments } from './reading/word-reader.ts';
import {
  commandsIn,
  defaultsIn,
  filePlace,
  filesWritten,
  inCommand,
  inInput,
  inSegments,
  inWords,
  listsIn,
  outputPlace,
  passesInput,
  type Source,
} from './sources.ts';

export interface Holder {
  /** The placeholder whose value it holds, as the author wrote it. */
  label: string;
}

/** A place that values pass through: a variable by its name, or an input by a name that no variable can have. */
type Place = string;
/** `$1`, `$@` and the like are treated as one. */
const positional: Place = '@';
/** Input that any function may read. */
const functionInput: Place = '|function';
/** Input that is opened for all later commands: `exec 3<file`. */
const openedInput: Place = '|exec';

/** A variable whose name only the run of the script decides, so that it may be any: `read "$name"`. */
const unnamed: Place = '|unnamed';

const everyVariable = () => true;

export class Holders {
  readonly functions = new Map<string, Compound>();
  readonly aliases = new Set<string>();
  /** Variables whose value the shell evaluates as an expression: those of `declare -i`, `declare -n` and the like. */
  readonly expressions = new Set<string>();
  readonly #held = new Map<Place, Holder>();
  /** The places to which values go on from each place. */
  readonly #flows = new Map<Place, Place[]>();
  /** Places that hold a value and have yet to be followed. */
  readonly #fresh: Place[] = [];
  /** Returns the placeholder at an offset; `undefined` if its value can only be a number or a boolean. */
  readonly #labelAt: (at: number) => string | undefined;
  #inputs = 0;
  /** Whether an `exec` opens input for what follows. */
  #opensInput = false;

  constructor(
    script: Script,
    labelAt: (at: number) => string | undefined,
    environment: ReadonlyMap<string, string>,
  ) {
    this.#labelAt = labelAt;
    for (const [name, label] of environment) {
      this.#held.set(name, { label });
      this.#fresh.push(name);
      this.#hold(anyVariable, label);
    }
    for (const command of commandsIn(script.list)) {
      this.#declare(command);
      if (isExec(command) && command.redirects.some(({ operator }) => operator.startsWith('<')))
        this.#opensInput = true;
    }
    this.#list(script.list, undefined);
    this.#follow();
  }

  holds = (name: string): boolean => this.get(name) !== undefined;

  get(name: string): Holder | undefined {
    const place = placeOf(name);
    return this.#held.get(place) ?? (isVariable.test(place) ? this.#held.get(unnamed) : undefined);
  }

  #follow(): void {
    for (let from = this.#fresh.pop(); from !== undefined; from = this.#fresh.pop()) {
      const label = this.#held.get(from)?.label;
      if (label === undefined) continue;
      for (const to of this.#flows.get(from) ?? []) this.#hold(to, label);
      if (from !== unnamed) continue;
      for (const any of this.#flows.keys()) if (isVariable.test(any)) this.#hold(any, label);
    }
  }

  #hold(place: Place, label: string): void {
    if (this.#held.has(place)) return;
    this.#held.set(place, { label });
    this.#fresh.push(place);
    // `$_` is the last argument of whatever ran before.
    if (place === unnamed || (isVariable.test(place) && place !== '_')) this.#hold(anyVariable, label);
  }

  /** Everything in the sources flows to the place. */
  #flow(sources: Iterable<Source>, to: Place | undefined): void {
    if (to === undefined) return;
    for (const source of sources) {
      if (source.kind === 'variable') this.#connect(placeOf(source.name), to);
      else {
        const label = this.#labelAt(source.at);
        if (label !== undefined) this.#hold(to, label);
      }
    }
  }

  #connect(from: Place | undefined, to: Place): void {
    if (from === undefined || from === to) return;
    const flows = this.#flows.get(from);
    if (flows === undefined) this.#flows.set(from, [to]);
    else if (flows.at(-1) !== to) flows.push(to);
  }

  #newInput(): Place {
    this.#inputs += 1;
    return `|${this.#inputs}`;
  }

  #declare(command: Command): void {
    if (command.kind === 'compound') {
      if (command.what === 'function' && command.name !== undefined)
        this.functions.set(command.name, command);
      return;
    }
    const words = certainPart(command.words);
    const { name: first = '', index } = resolveCommand(words);
    const given = words.slice(index + 1);
    const rest = given.map((word) => literalStart(word));
    if (first === 'alias')
      for (const [name] of rest.flatMap((word) => [...word.matchAll(/^[^=]+(?==)/g)])) this.aliases.add(name);
    const isDeclaration = /^(declare|typeset|local|readonly|export)$/.test(first);
    const makesExpression =
      /^(integer|float|nameref)$/.test(first) ||
      // `declare $option name`
      (/^(declare|typeset|local)$/.test(first) && rest.includes('')) ||
      (isDeclaration && rest.some((word) => /^-[A-Za-z]*[inEFA]/.test(word)));
    if (!makesExpression) return;
    for (const word of rest) this.expressions.add(word.replace(/[[=+].*$/s, ''));
    if (first === 'nameref' || rest.some((word) => /^-[A-Za-z]*n/.test(word)))
      for (const word of rest) this.#refer(word);
  }

  /** `declare -n name=other` */
  #refer(word: string): void {
    const [, name, other = ''] = /^([A-Za-z_]\w*)(?:=(.*))?$/s.exec(word) ?? [];
    if (name === undefined) return;
    this.#connect(/^[A-Za-z_]\w*$/.test(other) ? other : anyVariable, name);
  }

  /** @param input What commands of the list read if they have no input of their own. */
  #list(list: List, input: Place | undefined): void {
    for (const { commands } of list.pipelines) {
      let upstream = input;
      for (const [index, command] of commands.entries()) {
        this.#command(command, upstream);
        if (index === commands.length - 1) continue;
        const next = this.#newInput();
        this.#flow(inCommand(command, everyVariable), next);
        this.#connect(upstream, next);
        upstream = next;
      }
    }
  }

  #command(command: Command, upstream: Place | undefined): void {
    let input = upstream;
    if (command.redirects.some(({ operator }) => operator.startsWith('<'))) {
      input = this.#newInput();
      this.#flow(inInput(command.redirects, everyVariable), input);
      this.#connect(upstream, input);
      if (isExec(command)) this.#connect(input, openedInput);
    }
    if (this.#opensInput) {
      if (input === upstream) input = this.#newInput();
      this.#connect(upstream, input as Place);
      this.#connect(openedInput, input as Place);
    }
    const files = filesWritten(command);
    if (files.length > 0) {
      // Read once, as a command may have thousands of files and of values.
      const output = this.#newInput();
      this.#flow(inCommand(command, everyVariable), output);
      this.#connect(input, output);
      for (const path of files) this.#connect(output, filePlace(path));
    }
    const isFunction = command.kind === 'compound' && command.what === 'function';
    if (isFunction && command.name !== undefined)
      this.#flow(inCommand(command, everyVariable), outputPlace(command.name));
    for (const { name, operator } of defaultsIn(command))
      this.#flow(inSegments(operator, everyVariable), name);
    for (const list of listsIn(command)) this.#list(list, isFunction ? functionInput : input);
    if (command.kind === 'simple') this.#simple(command, input);
    else if (command.what === 'test') {
      if (command.words.some((word) => bareText(word) === '=~'))
        this.#flow(inWords(command.words, everyVariable), 'BASH_REMATCH');
    } else if (command.what === 'for' && command.name !== undefined) {
      this.#flow(inWords(command.words, everyVariable), command.name);
    }
  }

  #simple(command: Simple, input: Place | undefined): void {
    for (const word of command.assignments) {
      this.#assignment(word);
      const name = /^[A-Za-z_]\w*/.exec(literalStart(word))?.[0];
      if (name !== undefined && passesInput(word)) this.#connect(input, name);
    }
    this.#flow(inWords(command.words, everyVariable), '_');
    this.#called(certainPart(command.words), input);
  }

  #called(words: readonly Word[], input: Place | undefined): void {
    const { name, index } = resolveCommand(words);
    const arguments_ = words.slice(index + 1);
    if (name === undefined) return;
    const isFunction = this.functions.has(name);
    if (isFunction) this.#connect(input, functionInput);
    if (isFunction || name === 'set') this.#flow(inWords(arguments_, everyVariable), positional);
    if (name === 'set') this.#flow(inWords(arguments_, everyVariable), ownArguments);
    if (name === 'cd' || name === 'pushd') {
      for (const to of ['PWD', 'OLDPWD', 'DIRSTACK']) this.#flow(inWords(arguments_, everyVariable), to);
    }
    if (name === 'getopts') {
      this.#flow(inWords(arguments_, everyVariable), 'OPTARG');
      this.#connect(positional, 'OPTARG');
    }
    if (/^(export|readonly|declare|typeset|local|env|sudo)$/.test(name)) {
      for (const word of arguments_) this.#assignment(word);
    }
    for (const word of words.slice(0, index)) this.#assignment(word);
    for (const { name: set } of variablesSet(words)) {
      const place = set === undefined ? unnamed : placeOf(set);
      if (name === 'printf') this.#flow(inWords(arguments_, everyVariable), place);
      else this.#connect(name === 'getopts' ? 'OPTARG' : input, place);
    }
    if (/^(read|mapfile|readarray)$/.test(name)) this.#connect(input, name === 'read' ? 'REPLY' : 'MAPFILE');
  }

  #assignment(word: Word): void {
    const start = literalStart(word);
    const name = /^([A-Za-z_]\w*)(?:\+?=|$)/.exec(start)?.[1];
    if (isNamedByRun(word)) this.#flow(inSegments(word.segments, everyVariable), unnamed);
    if (name === undefined) return;
    const isSubscript = word.segments[1]?.kind === 'group';
    if (!isSubscript && !/^[A-Za-z_]\w*\+?=/.test(start)) return;
    this.#flow(inSegments(word.segments, everyVariable), name);
  }
}

/** Without what only the run of the script decides: `$SUDO declare -i n`. */
function certainPart(words: readonly Word[]): readonly Word[] {
  const resolved = resolveCommand(words);
  return resolved.name === undefined ? commandBehind(words, resolved) : words;
}

/** `exec` without a command opens files for all that follows. */
export function isExec(command: Command): boolean {
  return command.kind === 'simple' && literalOf(command.words[0]) === 'exec';
}

/** `export "$name=value"` */
function isNamedByRun(word: Word): boolean {
  const at = word.segments.findIndex(({ kind }) => kind !== 'text');
  const kind = word.segments[at]?.kind;
  return (
    (kind === 'parameter' || kind === 'command') &&
    /^\w*$/.test(literalStart(word)) &&
    word.segments.slice(at).some((segment) => segment.kind === 'text' && segment.text.includes('='))
  );
}

const isVariable = /^\w+$/;

function placeOf(name: string): Place {
  return /^([1-9]\d*|[@*])$/.test(name) ? positional : name;
}
