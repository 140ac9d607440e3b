// Decides for each placeholder of a PowerShell script whether its value may stand there. Accepted values become
// variables, which PowerShell never parses as code; refused is everything that passes their text to something that
// would.
import { Unreadable } from '../sh/reading/nesting.ts';
import type { Analysis, Hole } from '../sites/sites.ts';
import {
  codeTypes,
  commandOf,
  type KnownCommand,
  nameOf,
  namesThatRun,
  propertiesThatRun,
  takesCode,
  takesPath,
  typesOfQueries,
} from './commands.ts';
import { MemberChecks } from './member-checks.ts';
import {
  type Group,
  isCalled,
  isDeclaration,
  isMade,
  isType,
  literalName,
  takesArguments,
  textIn,
  typeIn,
  wordOf,
} from './neighbours.ts';
import { PowershellVerdicts } from './powershell-verdicts.ts';
import { type Item, type Opening, readItems } from './read-items.ts';
import type { ReasonName } from './reasons.ts';
import {
  beginsCommand,
  commandsOf,
  isAssignment,
  isName,
  makesObject,
  runsOf,
  splitsAtLines,
  statementsOf,
} from './statements.ts';

/**
 * A script that can't be read is refused.
 *
 * @param environment Variables that the step's environment sets from placeholders, with these as written.
 */
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
class PowershellAnalysis {
  readonly #items: readonly Item[];
  readonly #verdicts: PowershellVerdicts;
  readonly #members: MemberChecks;

  constructor(items: readonly Item[], holes: readonly Hole[], environment: ReadonlyMap<string, string>) {
    this.#items = items;
    this.#verdicts = new PowershellVerdicts(items, holes, environment);
    this.#members = new MemberChecks(this.#verdicts);
  }

  result(): Analysis {
    this.#list(this.#items, undefined, true);
    return this.#verdicts.conclude();
  }

  /**
   * @param within The bracket that contains them.
   * @param isSplit Whether a line may end a statement there.
   */
  #list(items: readonly Item[], within: Opening | undefined, isSplit: boolean): void {
    for (const statement of statementsOf(items, isSplit)) this.#statement(statement, within);
    for (const [index, item] of items.entries()) {
      this.#place(items, index);
      if (isDeclaration(items, index)) this.#members.declare((item as Group).inner);
      if (item.kind === 'group') this.#list(item.inner, item.open, splitsAtLines(items, index));
      else if (item.kind === 'string') this.#string(item.inner);
    }
  }

  #string(inner: readonly Item[]): void {
    for (const [index, item] of inner.entries()) {
      if (item.kind === 'group') this.#list(item.inner, item.open, true);
      if (item.kind !== 'hole') continue;
      if (item.where === 'double') this.#verdicts.acceptAs('quoted', item.at, index === 0);
      else if (item.where === 'here') this.#verdicts.acceptAs('document', item.at, false);
      else this.#verdicts.refuse(item, item.where === 'escaped' ? 'escaped' : 'single');
    }
  }

  /** A placeholder outside of quotes is either an expression by itself or refused. */
  #place(items: readonly Item[], index: number): void {
    const item = items[index] as Item;
    const [before, after] = [items[index - 1], items[index + 1]];
    this.#members.check(items, index);
    if (item.kind !== 'hole') return;
    if (item.where !== 'bare') {
      this.#verdicts.refuse(
        item,
        item.where === 'double' || item.where === 'here' ? 'elsewhere' : item.where,
      );
      return;
    }
    const isFree = !item.glued || before === undefined || before.kind === 'sign';
    const isNamed = before?.kind === 'word' && /^[-–—―][A-Za-z]\w*:$|^!$|\.\.$/.test(before.text);
    const endsFreely = after === undefined || !after.glued || after.kind === 'sign';
    if (!(isFree || isNamed) || !endsFreely) this.#verdicts.refuse(item, 'glued');
    else if (after !== undefined && isAssignment(after)) this.#verdicts.refuse(item, 'assigned');
    else this.#verdicts.acceptAs('word', item.at, true);
  }

  #statement(statement: readonly Item[], within: Opening | undefined): void {
    if (within === undefined && statement.length === 1) {
      for (const item of statement)
        if (item.kind === 'hole' && item.where === 'bare') this.#verdicts.refuse(item, 'printed');
    }
    const parts = commandsOf(statement);
    const commands = parts.map((part, index) =>
      runsOf(part)
        .map((run, at) => this.#run(run, within === '@{' && index === 0 && at === 0))
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
      if (!makesObject(rest) && !isMade(rest)) this.#verdicts.refuseAll(this.#members.texts(rest), reason);
    } else if (reason !== undefined) this.#verdicts.refuseAll(rest, reason);
    const startsWithout =
      head?.kind === 'sign' ? !/^[&,]$/.test(head.text) : /^(\.[A-Za-z_]|::)/.test(wordOf(head) ?? '');
    if (startsWithout) this.#verdicts.refuseAll(items, 'elsewhere');
    return this.#command(rest);
  }

  #refuseInterpreter(items: readonly Item[], { interpreter }: KnownCommand, where: string): void {
    if (interpreter === undefined) return;
    this.#verdicts.refuseAllFor(items, {
      why: `${where}, which ${interpreter.why}`,
      fix: () => interpreter.fix,
    });
  }

  #command(items: readonly Item[]): KnownCommand | undefined {
    const [head, next] = items;
    if (head === undefined) return undefined;
    const word = wordOf(head)?.toLowerCase() ?? '';
    if (namesCode.has(word)) {
      const end = items.findIndex(({ kind }) => kind === 'group');
      this.#verdicts.refuseHoles(items.slice(0, end < 0 ? items.length : end), 'name');
    }
    if (keywords.has(word) && !isCalled(next)) return undefined;
    if ((head.kind === 'hole' || head.kind === 'string') && takesArguments(next)) {
      this.#verdicts.refuseAll([head], 'command');
    }
    // A redirection in front of a command's name: `2>&1 command`
    if (
      head.kind === 'word' &&
      /^[*\d]$/.test(head.text) &&
      next?.kind === 'sign' &&
      next.text.startsWith('>')
    )
      this.#verdicts.refuseAll(items, 'elsewhere');
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
    this.#verdicts.refuseAll(items.slice(0, end), 'command');
    if (name !== undefined) return this.#named(name, items.slice(end));
    if (rest.length === 0) return undefined;
    return this.#unknown(items);
  }

  #unknown(items: readonly Item[]): KnownCommand {
    this.#verdicts.refuseAll(items, 'unknown_command');
    const interpreter = { why: 'may run it', fix: 'Write the name of the command itself.' };
    return { name: 'a command that is only known when the script runs', kind: 'any', interpreter };
  }

  #named(written: string, items: readonly Item[]): KnownCommand {
    const { aliases, functions } = this.#verdicts.holders;
    const alias = written.toLowerCase();
    const meant = aliases.has(alias) ? aliases.get(alias) : written;
    if (meant === undefined) return this.#unknown(items);
    const known = { ...commandOf(meant, functions, items.map(wordOf)), name: written };
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
    if (items.some((item) => special.test(textIn([item])))) this.#verdicts.refuseAll(items, 'special_name');
    for (const item of items) {
      const option = wordOf(item) ?? '';
      if (!item.glued && /^[-–—―][A-Za-z]/.test(option)) isQuery = takesCode(option, name);
      else if (isQuery) this.#verdicts.refuseAll([item], 'query');
      // `ForEach-Object Name` and `-MemberName` call a method.
      if (name === 'foreach-object' && item.kind !== 'group') this.#verdicts.refuseAll([item], 'member');
      if (!takesPath.test(name)) continue;
      for (const inner of item.kind === 'string' ? item.inner.slice(0, 1) : [item]) {
        if (inner.kind === 'hole')
          this.#verdicts.accept(inner.at, { as: 'word', mayBeOption: false, isPath: true });
      }
    }
  }

  #program(toProgram: 'exe' | 'any', items: readonly Item[]): void {
    for (const source of this.#verdicts.holders.in(items)) {
      if (source.kind === 'variable') this.#verdicts.refuse(source, 'variable_to_program');
      else this.#verdicts.accept(source.at, { as: 'word', mayBeOption: false, toProgram });
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
