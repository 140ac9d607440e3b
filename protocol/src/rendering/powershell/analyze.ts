// Decides for each placeholder of a PowerShell script whether its value may stand there. Accepted values become
// variables, which PowerShell never parses as code; refused is everything that passes their text to something that
// would.
import { Unreadable } from '../sh/reading/read-words.ts';
import { concludeAnalysis } from '../sites/conclude-analysis.ts';
import type { Analysis, Hole, Refusal, Site } from '../sites/sites.ts';
import {
  codeTypes,
  commandOf,
  type KnownCommand,
  membersThatQuery,
  membersThatRun,
  nameOf,
  namesThatRun,
  propertiesThatRun,
  takesCode,
  takesPath,
  typesOfQueries,
} from './commands.ts';
import {
  type Call,
  callOf,
  endsOperand,
  type Group,
  isCalled,
  isDeclaration,
  isIndex,
  isMade,
  isMember,
  isPartOf,
  isType,
  literalName,
  takesArguments,
  textIn,
  typeIn,
  wordOf,
} from './neighbours.ts';
import { type Item, type Opening, readItems } from './read-items.ts';
import { type ReasonName, reasons } from './reasons.ts';
import {
  beginsCommand,
  commandsOf,
  Holders,
  isAssignment,
  isName,
  makesObject,
  runsOf,
  type Source,
  splitsAtLines,
  statementsOf,
} from './statements.ts';

export function analyzePowershell(
  text: string,
  holes: readonly Hole[],
  environment: ReadonlyMap<string, string> = new Map(),
): Analysis {
  let items: Item[];
  try {
    items = readItems(text);
  } catch (error) {
    if (!(error instanceof Unreadable)) throw error;
    const refusals = holes.slice(0, 1).map(({ label }) => ({
      at: error.at,
      message: `The script can't be read from here on (${error.message}), so it is unknown where ${label} stands`,
      fix: 'Fix the script; if PowerShell does understand it, set the value in the environment of the step.',
    }));
    return { sites: new Map(), refusals };
  }
  return new PowershellAnalysis(items, holes, environment).result();
}

const keywords = new Set([
  ...[
    'if',
    'elseif',
    'else',
    'foreach',
    'for',
    'while',
    'do',
    'until',
    'switch',
    'try',
    'catch',
    'finally',
    'trap',
  ],
  ...[
    'function',
    'filter',
    'param',
    'begin',
    'process',
    'end',
    'class',
    'enum',
    'data',
    'break',
    'continue',
    'in',
  ],
]);
/** Keywords followed by the name of something that is run. */
const namesCode = new Set(['function', 'filter', 'class', 'workflow', 'configuration', 'using']);
/** Keywords followed by an expression or a command of its own. */
const prefixes = new Set(['return', 'throw', 'exit']);
/** Operators that may stand between a type and the value that is converted to it. */
const unaryOperators = /^(-(join|[ci]?split|b?not)|[-+!]+)$/i;

class PowershellAnalysis {
  readonly #items: readonly Item[];
  readonly #holes: ReadonlyMap<number, Hole>;
  readonly #holders: Holders;
  readonly #sites = new Map<number, Site>();
  readonly #refusals = new Map<string, Refusal>();
  /** Each `[…]` that indexes what precedes it. */
  readonly #indexes = new Set<Item>();
  /** Items between a type that turns text into code or a query, and that text. */
  readonly #makesCode = new Set<Item>();
  /** Contents of the parentheses of parameter declarations. */
  readonly #declarations = new Set<readonly Item[]>();

  constructor(items: readonly Item[], holes: readonly Hole[], environment: ReadonlyMap<string, string>) {
    this.#items = items;
    this.#holes = new Map(holes.map((hole) => [hole.at, hole]));
    const labelAt = (at: number) => {
      const hole = this.#holes.get(at);
      return hole === undefined || ['integer', 'number', 'boolean'].includes(hole.type)
        ? undefined
        : hole.label;
    };
    this.#holders = new Holders(items, labelAt, environment);
  }

  result(): Analysis {
    this.#list(this.#items, undefined, true);
    return concludeAnalysis({
      holes: this.#holes,
      sites: this.#sites,
      refusals: this.#refusals,
      keyOf: (at) => `hole ${at}`,
      refuse: (at, reason) => this.#refuse({ kind: 'hole', at }, reason),
    });
  }

  #refuse(source: Source, reason: ReasonName): void {
    const { why, fix } = reasons[reason];
    this.#refuseFor(source, why, fix);
  }

  #refuseFor(source: Source, why: string, fix: (label: string) => string): void {
    const key = `${source.kind} ${source.at}`;
    if (this.#refusals.has(key)) return;
    const { at } = source;
    if (source.kind === 'hole') {
      const label = this.#holes.get(at)?.label ?? 'The placeholder';
      this.#refusals.set(key, { at, message: `${label} ${why}`, fix: fix(label) });
      return;
    }
    const label = this.#holders.labelFor(source.name);
    const message = `$${source.name}, which may hold the value of ${label}, ${why}`;
    this.#refusals.set(key, { at, message, fix: fix(`$${source.name}`) });
  }

  #refuseAll(items: readonly Item[], reason: ReasonName): void {
    for (const source of this.#holders.in(items)) this.#refuse(source, reason);
  }

  /**
   * @param within The bracket that contains them.
   * @param isSplit Whether a line may end a statement there.
   */
  #list(items: readonly Item[], within: Opening | undefined, isSplit: boolean): void {
    for (const statement of statementsOf(items, isSplit)) this.#statement(statement, within);
    for (const [index, item] of items.entries()) {
      this.#place(items, index);
      if (isDeclaration(items, index)) this.#declarations.add((item as Group).inner);
      if (item.kind === 'group') this.#list(item.inner, item.open, splitsAtLines(items, index));
      else if (item.kind === 'string') this.#string(item.inner);
    }
  }

  #refuseHoles(items: readonly Item[], reason: ReasonName): void {
    for (const source of this.#holders.in(items)) if (source.kind === 'hole') this.#refuse(source, reason);
  }

  #string(inner: readonly Item[]): void {
    for (const [index, item] of inner.entries()) {
      if (item.kind === 'group') this.#list(item.inner, item.open, true);
      if (item.kind !== 'hole') continue;
      if (item.where === 'double') this.#accept(item.at, 'quoted', index === 0);
      else if (item.where === 'here') this.#accept(item.at, 'document', false);
      else this.#refuse(item, item.where === 'escaped' ? 'escaped' : 'single');
    }
  }

  #accept(at: number, as: Site['as'], mayBeOption: boolean): void {
    const site = this.#sites.get(at);
    this.#sites.set(at, { ...site, as, mayBeOption: mayBeOption && site?.toProgram !== undefined });
  }

  /** A placeholder outside of quotes is either an expression by itself or refused. */
  #place(items: readonly Item[], index: number): void {
    const item = items[index] as Item;
    const [before, after] = [items[index - 1], items[index + 1]];
    this.#member(items, index);
    if (item.kind !== 'hole') return;
    if (item.where !== 'bare') {
      this.#refuse(item, item.where === 'double' || item.where === 'here' ? 'elsewhere' : item.where);
      return;
    }
    const isFree = !item.glued || before === undefined || before.kind === 'sign';
    const isNamed = before?.kind === 'word' && /^[-–—―][A-Za-z]\w*:$|^!$|\.\.$/.test(before.text);
    const endsFreely = after === undefined || !after.glued || after.kind === 'sign';
    if (!(isFree || isNamed) || !endsFreely) this.#refuse(item, 'glued');
    else if (after !== undefined && isAssignment(after)) this.#refuse(item, 'assigned');
    else this.#accept(item.at, 'word', true);
  }

  /** `.Name`, `::Name`, `[type]`, `-as type`. */
  #member(items: readonly Item[], index: number): void {
    const item = items[index] as Item;
    const next = items[index + 1];
    if (item.kind === 'group' && item.open === '[') {
      const before = items[index - 1];
      if (isIndex(item, before, this.#indexes)) {
        this.#indexes.add(item);
        return;
      }
      this.#refuseAll(item.inner, 'type');
      if (item.glued && isMember(before)) this.#indexes.add(item);
      else this.#cast(items, index);
      return;
    }
    if (item.kind !== 'word') return;
    // A typographic dash is one, too.
    const word = item.text.toLowerCase().replace(/^[–—―]/, '-');
    if (this.#makesCode.has(item) && unaryOperators.test(word)) this.#cast(items, index);
    if (/^-(as|is|isnot)$/.test(word) && next !== undefined) this.#refuseAll([next], 'type');
    if (next === undefined) return;
    if (word === '-as') this.#castOnLeft(items, index);
    if (/^-[ci]?(not)?(match|like|split)$/.test(word) && next.kind !== 'group')
      this.#refuseHoles([next], 'pattern');
    if (/^-[ci]?replace$/.test(word)) {
      // Its pattern, and after a comma its replacement, in which $ has a meaning.
      const [pattern, comma, replacement] = items.slice(index + 1, index + 4);
      const isPair = comma?.kind === 'sign' && comma.text === ',';
      for (const each of isPair ? [pattern, replacement] : [pattern])
        if (each !== undefined && each.kind !== 'group') this.#refuseHoles([each], 'pattern');
    }
    if (!next.glued) return;
    if (isMember(item) && /[.:]$/.test(word) && index > 0 && item.glued) this.#refuseAll([next], 'member');
    const called = callOf(items, index);
    if (called !== undefined) this.#call(called, items[index - 1]);
  }

  /** @param of The item before the method's name. */
  #call({ member, given, isStatic }: Call, of: Item | undefined): void {
    if (member === 'new' && isStatic) this.#madeOf(of, given);
    if (isStatic && isType(of) && /(^|\.)regex$/i.test(typeIn(of.inner))) this.#patterns(member, given);
    if (member !== undefined && membersThatQuery.has(member)) this.#refuseAll(given, 'query');
    if (member !== undefined && !membersThatRun.has(member)) return;
    const name = member === undefined ? 'a method that is only known when the script runs' : `.${member}(…)`;
    const fix =
      member === undefined
        ? 'Write the name of the method itself, and choose among several with switch.'
        : 'Write what is to be run itself, and hand the value over as an argument of it.';
    for (const source of this.#holders.in(given))
      this.#refuseFor(source, `is an argument of ${name}, which can run it`, () => fix);
  }

  /** For methods of `[regex]`: checks the pattern and the replacement, but not the text that is searched. */
  #patterns(member: string | undefined, given: readonly Item[]): void {
    if (member === 'escape' || member === 'unescape') return;
    const first = member === 'new' ? 0 : 1;
    let at = 0;
    for (const item of given) {
      if (item.kind === 'sign' && item.text === ',') at += 1;
      else if (at >= first && item.kind !== 'group') this.#refuseHoles([item], 'pattern');
    }
  }

  /**
   * `[SqlCommand] "…"` turns the text into one, as do `[SqlCommand][string] "…"` and `[SqlCommand] -join …`.
   *
   * @param index Of the type, or of an item between it and its operand.
   */
  #cast(items: readonly Item[], index: number): void {
    const item = items[index] as Item;
    const next = items[index + 1];
    const type = item.kind === 'group' ? typeIn(item.inner) : '';
    const isCode = codeTypes.test(type);
    const isQuery = typesOfQueries.test(type) && !this.#declarations.has(items);
    if (next === undefined || isMember(next) || !(isCode || isQuery || this.#makesCode.has(item))) return;
    const isBetween = next.kind === 'word' ? unaryOperators.test(next.text) : isType(next);
    if (isBetween) {
      this.#makesCode.add(next);
      return;
    }
    let end = index + 2;
    while (items[end]?.glued === true && isPartOf(items[end] as Item, items[end - 1] as Item)) end += 1;
    this.#refuseAll(this.#texts(items.slice(index + 1, end)), 'code_type');
  }

  /** `"…" -as [SqlCommand]` */
  #castOnLeft(items: readonly Item[], index: number): void {
    const [item, target] = items.slice(index, index + 2) as [Item, Item];
    const isTold = isType(target) || target.kind === 'word' || target.kind === 'string';
    const type = textIn([target]);
    if (isTold && !codeTypes.test(type) && !typesOfQueries.test(type)) return;
    // The left operand of an earlier one has been checked together with that.
    let begin = index;
    while (
      begin > 0 &&
      !this.#makesCode.has(items[begin - 1] as Item) &&
      !endsOperand(items[begin - 1] as Item)
    )
      begin -= 1;
    this.#makesCode.add(item);
    this.#refuseAll(this.#texts(items.slice(begin, index)), 'code_type');
  }

  /** `[type]::new(…)` */
  #madeOf(type: Item | undefined, given: readonly Item[]): void {
    if (type?.kind !== 'group' || type.open !== '[') {
      for (const source of this.#holders.in(given)) {
        const why = 'is an argument of ::new(…) of a type that is only known when the script runs';
        this.#refuseFor(source, why, () => 'Write the type itself: [Type]::new("…").');
      }
      return;
    }
    const name = textIn(type.inner);
    if (!typesOfQueries.test(name) && !codeTypes.test(name)) return;
    for (const source of this.#holders.in(this.#texts(given))) {
      this.#refuseFor(
        source,
        `is an argument of [${name.slice(0, 100)}]::new(…), which makes a query or a command line of it`,
        () =>
          'Give it to a query as a parameter: $command.Parameters.AddWithValue("@name", …). Filter what comes from LDAP and WMI behind it, with Where-Object; call a program itself.',
      );
    }
  }

  /** Leaves out variables that hold only connections and commands. */
  #texts(items: readonly Item[]): Item[] {
    return items.filter((item, at) => {
      const next = items[at + 1];
      const isWhole = next?.glued !== true || next.kind === 'sign';
      return !(item.kind === 'variable' && isWhole && this.#holders.isObject(item.name));
    });
  }

  #statement(statement: readonly Item[], within: Opening | undefined): void {
    if (within === undefined && statement.length === 1) {
      for (const item of statement)
        if (item.kind === 'hole' && item.where === 'bare') this.#refuse(item, 'printed');
    }
    const parts = commandsOf(statement);
    const commands = parts.map((part) =>
      runsOf(part)
        .map((run, at) => this.#run(run, within === '@{' && at === 0))
        .at(-1),
    );
    const last = commands.findLastIndex((known) => known?.interpreter !== undefined);
    if (last < 1) return;
    const known = commands[last] as KnownCommand;
    for (const part of parts.slice(0, last)) {
      this.#refuseInterpreter(part, known, `goes into the input of ${known.name}`);
    }
  }

  /** A command or an expression, including the targets of an assignment of its result. */
  #run(run: readonly Item[], isEntry: boolean): KnownCommand | undefined {
    const items = run.slice(run.findIndex((item) => !prefixes.has(wordOf(item)?.toLowerCase() ?? '')));
    const [head] = items;
    let from = 0;
    // `$x = $y = command`; but `cmd = …` is a command with arguments.
    for (const [at, item] of items.entries()) {
      if (beginsCommand(items[from]) && !(isEntry && from === 0)) break;
      if (isAssignment(item)) from = at + 1;
    }
    const reason = reasonOfTarget(items.slice(0, from));
    const rest = items.slice(from);
    if (reason === 'code_type') {
      // Something made by naming its type is checked there.
      if (!makesObject(rest) && !isMade(rest)) this.#refuseAll(this.#texts(rest), reason);
    } else if (reason !== undefined) this.#refuseAll(rest, reason);
    const startsWithout =
      head?.kind === 'sign' ? !/^[&,]$/.test(head.text) : /^(\.[A-Za-z_]|::)/.test(wordOf(head) ?? '');
    if (startsWithout) this.#refuseAll(items, 'elsewhere');
    return this.#command(rest);
  }

  #refuseInterpreter(items: readonly Item[], { interpreter }: KnownCommand, where: string): void {
    if (interpreter === undefined) return;
    for (const source of this.#holders.in(items)) {
      this.#refuseFor(source, `${where}, which ${interpreter.why}`, () => interpreter.fix);
    }
  }

  #command(items: readonly Item[]): KnownCommand | undefined {
    const [head, next] = items;
    if (head === undefined) return undefined;
    const word = wordOf(head)?.toLowerCase() ?? '';
    if (namesCode.has(word)) {
      const end = items.findIndex(({ kind }) => kind === 'group');
      this.#refuseHoles(items.slice(0, end < 0 ? items.length : end), 'name');
    }
    if (keywords.has(word) && !isCalled(next)) return undefined;
    if ((head.kind === 'hole' || head.kind === 'string') && takesArguments(next)) {
      this.#refuseAll([head], 'command');
    }
    // A redirection in front of a command's name: `2>&1 command`
    if (
      head.kind === 'word' &&
      /^[*\d]$/.test(head.text) &&
      next?.kind === 'sign' &&
      next.text.startsWith('>')
    )
      this.#refuseAll(items, 'elsewhere');
    const isOperator =
      (head.kind === 'sign' && head.text === '&') ||
      (head.kind === 'word' && head.text === '.' && next?.glued === false);
    if (isOperator) return this.#invoked(items.slice(1));
    if (head.kind === 'word' && isName(head.text)) {
      // A name with something attached is only known when the script runs: `program$version`.
      if (next?.glued === true && next.kind !== 'sign' && next.kind !== 'group') return this.#unknown(items);
      return this.#named(head.text, items.slice(1));
    }
    return undefined;
  }

  /** After `&` or the dot. */
  #invoked(items: readonly Item[]): KnownCommand | undefined {
    const [named, ...rest] = items;
    if (named === undefined) return undefined;
    if (named.kind === 'group' && named.open === '{') return undefined;
    let end = 1;
    while (items[end]?.glued === true && items[end]?.kind !== 'sign') end += 1;
    const name = literalName(items.slice(0, end));
    this.#refuseAll(items.slice(0, end), 'command');
    if (name !== undefined) return this.#named(name, items.slice(end));
    if (rest.length === 0) return undefined;
    return this.#unknown(items);
  }

  #unknown(items: readonly Item[]): KnownCommand {
    this.#refuseAll(items, 'unknown_command');
    const interpreter = { why: 'may run it', fix: 'Write the name of the command itself.' };
    return { name: 'a command that is only known when the script runs', kind: 'any', interpreter };
  }

  #named(written: string, items: readonly Item[]): KnownCommand {
    const { aliases, functions } = this.#holders;
    const alias = written.toLowerCase();
    const meant = aliases.has(alias) ? aliases.get(alias) : written;
    if (meant === undefined) return this.#unknown(items);
    const known = { ...commandOf(meant, functions), name: written };
    if (known.interpreter !== undefined) {
      this.#refuseInterpreter(items, known, `is an argument of ${written}`);
      return known;
    }
    if (known.kind === 'cmdlet') this.#cmdlet(nameOf(meant), items);
    else this.#program(known.kind, items);
    return known;
  }

  #cmdlet(name: string, items: readonly Item[]): void {
    let isQuery = false;
    // `Set-Content function:prompt …`
    const [verb = ''] = name.split('-');
    const setsPath = /^(set|new|add|copy|move|rename)$/.test(verb);
    const special = setsPath
      ? /(^|:)(function:|alias:|env:(path|pathext|psmodulepath|comspec)$)/i
      : /(^|:)(function|alias):/i;
    if (items.some((item) => special.test(textIn([item])))) this.#refuseAll(items, 'special_name');
    for (const item of items) {
      const option = wordOf(item) ?? '';
      if (!item.glued && /^[-–—―][A-Za-z]/.test(option)) isQuery = takesCode(option, name);
      else if (isQuery) this.#refuseAll([item], 'query');
      // `ForEach-Object Name` and `-MemberName` call a method.
      if (name === 'foreach-object' && item.kind !== 'group') this.#refuseAll([item], 'member');
      if (!takesPath.test(name)) continue;
      for (const inner of item.kind === 'string' ? item.inner.slice(0, 1) : [item]) {
        if (inner.kind === 'hole')
          this.#sites.set(inner.at, { as: 'word', mayBeOption: false, isPath: true });
      }
    }
  }

  #program(toProgram: 'exe' | 'any', items: readonly Item[]): void {
    for (const source of this.#holders.in(items)) {
      if (source.kind === 'variable') this.#refuse(source, 'variable_to_program');
      else this.#sites.set(source.at, { as: 'word', mayBeOption: false, toProgram });
    }
  }
}

/** Why no value may be assigned to such a target: `$env:PATH = …`, `$command.CommandText = …`. */
function reasonOfTarget(target: readonly Item[]): ReasonName | undefined {
  for (const item of target) {
    if (item.kind === 'variable' && namesThatRun.test(item.name)) return 'special_name';
    if (item.kind === 'word' && propertiesThatRun.test(item.text)) return 'property';
  }
  // `[SqlCommand]$x = …`, with the type in any position among those before a name.
  let isFirst = true;
  for (const item of target) {
    const type = isFirst && isType(item) ? typeIn(item.inner) : '';
    if (codeTypes.test(type) || typesOfQueries.test(type)) return 'code_type';
    isFirst = item.kind === 'sign' || (isFirst && isType(item));
  }
  return undefined;
}
