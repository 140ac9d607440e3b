// Determines which variables and functions of a script hold a value.
import { makesAlias, nameOf } from './commands.ts';
import type { Item } from './read-items.ts';
import {
  deep,
  isAssignment,
  isName,
  isWord,
  literalOf,
  makesObject,
  splitsAtLines,
  statementsOf,
  withBlock,
} from './statements.ts';

export type Source = { kind: 'hole'; at: number } | { kind: 'variable'; name: string; at: number };

/** Variables that PowerShell sets itself, from whatever a script handles. */
const automatic = new Set([
  ...[
    '_',
    'psitem',
    'args',
    'input',
    'this',
    'matches',
    'switch',
    'foreach',
    'event',
    'eventargs',
    'sender',
    'error',
  ],
  ...['psboundparameters', 'myinvocation', '$', '^', 'stacktrace'],
]);
const setsByName =
  /^-(ov|pv|ev|wv|iv|outv\w*|pipelinev\w*|errorv\w*|warningv\w*|informationv\w*|variable|variablename|sessionvariable|statuscodevariable|responseheadersvariable|rhv|scv|sv)$/;
const readsByName = new Set(['get-variable', 'set-variable', 'new-variable', 'read-host']);

/**
 * Determines which variables hold a value, regardless of order: set from a placeholder, or from another such variable.
 */
export class Holders {
  readonly functions = new Set<string>();
  readonly #classes = new Set<string>();
  /** The commands that the script's aliases stand for; `undefined` if that isn't known. In lowercase. */
  readonly aliases = new Map<string, string | undefined>();
  /** Whether a variable is only ever set to connections and commands. */
  readonly #objects = new Map<string, boolean>();
  readonly #held = new Map<string, string>();
  readonly #flows = new Map<string, string[]>();
  readonly #fresh: string[] = [];
  readonly #labelAt: (at: number) => string | undefined;
  /** A value from anywhere in the script, for flows that can't be followed. */
  readonly #any: string | undefined;
  #all = false;
  #count = 0;

  constructor(
    items: readonly Item[],
    labelAt: (at: number) => string | undefined,
    environment: ReadonlyMap<string, string>,
  ) {
    this.#labelAt = labelAt;
    for (const [name, label] of environment) this.#hold(`env:${name.toLowerCase()}`, label);
    let any = [...environment.values()][0];
    for (const item of deep(items)) if (item.kind === 'hole') any ??= labelAt(item.at);
    this.#any = any;
    this.#declare(items);
    this.#list(items, true);
    for (let from = this.#fresh.pop(); from !== undefined; from = this.#fresh.pop()) {
      const label = this.#held.get(from);
      if (label !== undefined) for (const to of this.#flows.get(from) ?? []) this.#hold(to, label);
    }
  }

  labelOf(name: string): string | undefined {
    if (this.#any !== undefined && (automatic.has(name) || this.#all))
      return this.#held.get(name) ?? this.#any;
    return this.#held.get(name);
  }

  /** Whether it is known to hold a database connection or command, and no text. */
  isObject(name: string): boolean {
    return !this.#all && this.#objects.get(name) === true;
  }

  /** Finds values in these items at any depth. Calling a function of the script may return one. */
  *in(items: readonly Item[]): Generator<Source> {
    for (const item of deep(items)) {
      if (item.kind === 'hole') yield { kind: 'hole', at: item.at };
      else if (item.kind === 'variable' && this.labelOf(item.name) !== undefined) {
        yield { kind: 'variable', name: item.name, at: item.at };
      } else if (
        item.kind === 'word' &&
        this.#any !== undefined &&
        this.functions.has(item.text.toLowerCase())
      ) {
        yield { kind: 'variable', name: item.text, at: item.at };
      } else if (this.#any !== undefined && this.#isClass(item)) {
        yield { kind: 'variable', name: 'result', at: item.at };
      } else if (item.kind === 'word' && this.#any !== undefined && this.#readsByName(item.text))
        yield { kind: 'variable', name: item.text, at: item.at };
    }
  }

  /** `[Name]` of a class in the script, whose methods may return any of its values. */
  #isClass(item: Item): boolean {
    return (
      item.kind === 'group' &&
      item.open === '[' &&
      this.#classes.has(literalOf(item.inner[0])?.toLowerCase() ?? '')
    );
  }

  /** `Get-Variable x`, `Get-Content variable:x`, `Get-Item env:X`, `[Environment]::GetEnvironmentVariable('X')` */
  #readsByName(text: string): boolean {
    const word = text.toLowerCase();
    if (nameOf(word) === 'get-variable' || /(^|:)variable:/.test(word)) return true;
    const isEnvironment = /(^|::)getenvironmentvariables?$/.test(word) || /(^|:)env:/.test(word);
    return isEnvironment && [...this.#held.keys()].some((name) => name.startsWith('env:'));
  }

  /** A function of the script may return any of its values. */
  labelFor(name: string): string {
    return this.labelOf(name) ?? this.#any ?? '';
  }

  #hold(name: string, label: string | undefined): void {
    if (label === undefined || this.#held.has(name)) return;
    this.#held.set(name, label);
    this.#fresh.push(name);
  }

  /** Before anything else, as a function may be called above its declaration. */
  #declare(items: readonly Item[]): void {
    for (const [index, item] of items.entries()) {
      if (item.kind === 'group' || item.kind === 'string') this.#declare(item.inner);
      const next = items[index + 1];
      if (item.kind === 'word' && next?.kind === 'word' && /^(function|filter)$/i.test(item.text))
        this.functions.add(next.text.toLowerCase().replace(/^(global|local|script|private):/, ''));
      if (isWord(item, 'class') && next?.kind === 'word') this.#classes.add(next.text.toLowerCase());
      // `Name([string]$x) { … }` in a class
      const isMethod =
        item.kind === 'word' && !withBlock.has(item.text.toLowerCase()) && isName(item.text) && next?.glued;
      const body = items[index + 2];
      if (
        isMethod &&
        next?.kind === 'group' &&
        next.open === '(' &&
        body?.kind === 'group' &&
        body.open === '{'
      )
        this.#parameters(next.inner);
    }
  }

  #list(items: readonly Item[], isSplit: boolean): void {
    for (const statement of statementsOf(items, isSplit)) this.#statement(statement);
    for (const [index, item] of items.entries()) {
      if (item.kind === 'group') this.#list(item.inner, splitsAtLines(items, index));
      else if (item.kind === 'string') this.#list(item.inner, false);
    }
  }

  #statement(statement: readonly Item[]): void {
    this.#assignments(statement);
    let last: string | undefined;
    for (const [index, item] of statement.entries()) {
      if (item.kind === 'variable') last = item.name;
      if (item.kind === 'variable' && item.name.startsWith('alias:'))
        this.aliases.set(item.name.slice('alias:'.length), undefined);
      for (const each of aliasesNamed(item, statement)) this.aliases.set(each, undefined);
      if (item.kind !== 'word') continue;
      const word = item.text.toLowerCase();
      const next = statement[index + 1];
      if (makesAlias.has(nameOf(word))) this.#alias(statement.slice(index + 1, index + 13));
      // `$list.Add(…)` and `$list."Add"(…)` change the content of `$list`.
      const given = word.endsWith('.') && next?.glued === true ? statement[index + 2] : next;
      if (word.startsWith('.') && given?.kind === 'group' && last !== undefined) this.#flow([given], [last]);
      if (word === 'foreach' && next?.kind === 'group') this.#loop(next.inner);
      else if (word === 'param' && next?.kind === 'group') this.#parameters(next.inner);
      else if ((word === 'function' || word === 'filter') && next?.kind === 'word') {
        const declared = statement[index + 2];
        if (declared?.kind === 'group' && declared.open === '(') this.#parameters(declared.inner);
      } else if (
        setsByName.test(word) ||
        readsByName.has(nameOf(word)) ||
        /(^|:)variable:|\bpsvariable\b/.test(word)
      )
        this.#all = true;
      else if (word === 'ref]') this.#all = true;
    }
    for (const item of statement) {
      if (item.kind === 'group' && item.open === '[' && isWord(item.inner[0], 'ref')) this.#all = true;
    }
  }

  /** `$a = $b = value`: starts with the last one, so that each variable gets what follows all later signs. */
  #assignments(statement: readonly Item[]): void {
    const signs = [...statement.keys()].filter((at) => isAssignment(statement[at] as Item));
    let node: string | undefined;
    for (let index = signs.length - 1; index >= 0; index -= 1) {
      const at = signs[index] as number;
      const begin = (signs[index - 1] ?? -1) + 1;
      node = this.#gather(statement.slice(at + 1, signs[index + 1]), node);
      for (const name of variablesIn(statement.slice(begin, at))) this.#connect(node, name);
      this.#set(statement.slice(begin, at + 1), statement.slice(at + 1, at + 5));
    }
  }

  #loop(inner: readonly Item[]): void {
    const at = inner.findIndex((item) => isWord(item, 'in'));
    if (at <= 0) return;
    this.#flow(inner.slice(at + 1), variablesIn(inner.slice(0, at)));
    for (const name of variablesIn(inner.slice(0, at))) this.#objects.set(name, false);
  }

  #parameters(inner: readonly Item[]): void {
    for (const name of variablesIn(inner)) {
      this.#hold(name, this.#any);
      this.#objects.set(name, false);
    }
  }

  /**
   * @param target With the sign after it.
   * @param from The beginning of what follows that.
   */
  #set(target: readonly Item[], from: readonly Item[]): void {
    const [last, sign] = target.slice(-2);
    const isObject = isWhole(sign) && makesObject(from);
    for (const name of variablesIn(target.filter((item, at) => !isMemberOf(item, target[at + 1])))) {
      const isThis = last?.kind === 'variable' && last.name === name;
      this.#objects.set(name, isThis && isObject && this.#objects.get(name) !== false);
    }
  }

  /** `Set-Alias name command`, with or without parameter names. */
  #alias(given: readonly Item[]): void {
    const end = given.findIndex(({ kind }) => kind === 'sign');
    const words = end < 0 ? [...given] : given.slice(0, end);
    const by: { name?: string | undefined; value?: string | undefined } = {};
    const places = ['name', 'value'] as const;
    for (let at = 0; at < words.length; at += 1) {
      const text = literalOf(words[at]);
      const named = /^[-–—―]([a-z]+)(?::(.*))?$/is.exec(text ?? '');
      const parameter = named?.[1]?.toLowerCase() ?? '';
      if (named === null) {
        const place = places.find((each) => !(each in by));
        if (place !== undefined) by[place] = text;
      } else if (!['force', 'passthru', 'whatif', 'confirm'].some((each) => each.startsWith(parameter))) {
        const isGlued = named[2] !== undefined && named[2] !== '';
        const place = places.find((each) => each.startsWith(parameter));
        const value = isGlued ? named[2] : literalOf(words[at + 1]);
        if (place !== undefined) by[place] = value;
        if (!isGlued) at += 1;
      }
    }
    const name = by.name?.toLowerCase();
    if (name === undefined) return;
    const isTold = !this.aliases.has(name) || this.aliases.get(name) === by.value;
    this.aliases.set(name, isTold ? by.value : undefined);
  }

  #flow(from: readonly Item[], to: readonly string[]): void {
    if (to.length === 0) return;
    const node = this.#gather(from);
    for (const name of to) this.#connect(node, name);
  }

  /**
   * One node for all that these hold, so that setting several variables from several others costs the sum, not the
   * product.
   */
  #gather(from: readonly Item[], more?: string): string {
    this.#count += 1;
    const node = `|${this.#count}`;
    if (more !== undefined) this.#connect(more, node);
    for (const item of deep(from)) {
      if (item.kind === 'hole') this.#hold(node, this.#labelAt(item.at));
      else if (item.kind === 'variable') {
        if (automatic.has(item.name)) this.#hold(node, this.#any);
        this.#connect(item.name, node);
      } else if (item.kind === 'word' && this.functions.has(item.text.toLowerCase())) {
        this.#hold(node, this.#any);
      } else if (this.#isClass(item)) this.#hold(node, this.#any);
    }
    return node;
  }

  #connect(from: string, to: string): void {
    const flows = this.#flows.get(from);
    if (flows === undefined) this.#flows.set(from, [to]);
    else if (flows.at(-1) !== to) flows.push(to);
  }
}

/** `Set-Item alias:run iex`; what is copied or renamed may get any of the names beside it. */
function aliasesNamed(item: Item, statement: readonly Item[]): string[] {
  const named = /(?:^|:)alias:[\\/]*(.*)$/i.exec(literalOf(item) ?? '')?.[1];
  if (named === undefined) return [];
  const isMoved = statement.some((each) => /^(copy|move|rename)-item$/.test(nameOf(literalOf(each) ?? '')));
  const beside = isMoved ? statement.filter(({ kind }) => kind === 'word' || kind === 'string') : [];
  return [named, ...beside.map((each) => literalOf(each) ?? '')]
    .map((name) => name.toLowerCase())
    .filter((name) => name !== '' && !/^[-–—―]|-item$/.test(name));
}

function isWhole(sign: Item | undefined): boolean {
  return sign?.kind === 'sign' && sign.text === '=';
}

/** `$x` in `$x.Name` and `$x[0]`, which doesn't change itself. */
function isMemberOf(item: Item, next: Item | undefined): boolean {
  if (item.kind !== 'variable' || next?.glued !== true) return false;
  return next.kind === 'word' ? next.text.startsWith('.') : next.kind === 'group' && next.open === '[';
}

function variablesIn(items: readonly Item[]): string[] {
  const names = new Set<string>();
  for (const item of deep(items)) if (item.kind === 'variable') names.add(item.name);
  return [...names];
}
