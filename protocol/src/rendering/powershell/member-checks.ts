// Decides for each placeholder of a PowerShell script whether methods, types and operators may get its value: some of them
// make code, a query or a pattern of a text.
import { codeTypes, membersThatQuery, membersThatRun, namesThatRun, typesOfQueries } from './commands.ts';
import {
  type Call,
  callOf,
  endsOperand,
  isIndex,
  isMember,
  isPartOf,
  isType,
  textIn,
  typeIn,
} from './neighbours.ts';
import type { PowershellVerdicts } from './powershell-verdicts.ts';
import type { Item } from './read-items.ts';
import { literalOf } from './statements.ts';

/** Operators that may stand between a type and the value that is converted to it. */
const unaryOperators = /^(-(join|[ci]?split|b?not)|[-+!]+)$/i;

export class MemberChecks {
  readonly #verdicts: PowershellVerdicts;
  /** Each `[…]` that indexes what precedes it. */
  readonly #indexes = new Set<Item>();
  /** Items between a type that turns text into code or a query, and that text. */
  readonly #makesCode = new Set<Item>();
  /** Contents of the parentheses of parameter declarations. */
  readonly #declarations = new Set<readonly Item[]>();

  constructor(verdicts: PowershellVerdicts) {
    this.#verdicts = verdicts;
  }

  /** Notes what stands in the parentheses of a parameter declaration: the type of a query converts no text there. */
  declare(parameters: readonly Item[]): void {
    this.#declarations.add(parameters);
  }

  /** `.Name`, `::Name`, `[type]`, `-as type`. */
  check(items: readonly Item[], index: number): void {
    const item = items[index] as Item;
    const next = items[index + 1];
    if (item.kind === 'group' && item.open === '[') {
      const before = items[index - 1];
      if (isIndex(item, before, this.#indexes)) {
        this.#indexes.add(item);
        return;
      }
      this.#verdicts.refuseAll(item.inner, 'type');
      if (item.glued && isMember(before)) this.#indexes.add(item);
      else this.#cast(items, index);
      return;
    }
    if (item.kind !== 'word') return;
    // A typographic dash is one, too.
    const word = item.text.toLowerCase().replace(/^[–—―]/, '-');
    if (this.#makesCode.has(item) && unaryOperators.test(word)) this.#cast(items, index);
    if (/^-(as|is|isnot)$/.test(word) && next !== undefined) this.#verdicts.refuseAll([next], 'type');
    if (next === undefined) return;
    if (word === '-as') this.#castOnLeft(items, index);
    if (/^-[ci]?(not)?(match|like|split)$/.test(word) && next.kind !== 'group')
      this.#verdicts.refuseHoles([next], 'pattern');
    if (/^-[ci]?replace$/.test(word)) {
      // Its pattern, and after a comma its replacement, in which $ has a meaning.
      const [pattern, comma, replacement] = items.slice(index + 1, index + 4);
      const isPair = comma?.kind === 'sign' && comma.text === ',';
      for (const each of isPair ? [pattern, replacement] : [pattern])
        if (each !== undefined && each.kind !== 'group') this.#verdicts.refuseHoles([each], 'pattern');
    }
    if (!next.glued) return;
    if (isMember(item) && /[.:]$/.test(word) && index > 0 && item.glued)
      this.#verdicts.refuseAll([next], 'member');
    const called = callOf(items, index);
    if (called !== undefined) this.#call(called, items[index - 1]);
  }

  /** @param of The item before the method's name. */
  #call({ member, given, isStatic }: Call, of: Item | undefined): void {
    if (member === 'new' && isStatic) this.#madeOf(of, given);
    if (isStatic && isType(of) && /(^|\.)regex$/i.test(typeIn(of.inner))) this.#patterns(member, given);
    if (member !== undefined && membersThatQuery.has(member)) this.#verdicts.refuseAll(given, 'query');
    if (member === 'setenvironmentvariable') {
      const name = literalOf(given[0])?.toLowerCase();
      if (name === undefined || namesThatRun.test(`env:${name}`))
        this.#verdicts.refuseAll(given, 'special_name');
    }
    if (member !== undefined && !membersThatRun.has(member)) return;
    const name = member === undefined ? 'a method that is only known when the script runs' : `.${member}(…)`;
    const fix =
      member === undefined
        ? 'Write the name of the method itself, and choose among several with switch.'
        : 'Write what is to be run itself, and hand the value over as an argument of it.';
    this.#verdicts.refuseAllFor(given, {
      why: `is an argument of ${name}, which can run it`,
      fix: () => fix,
    });
  }

  /** For methods of `[regex]`: checks the pattern and the replacement, but not the text that is searched. */
  #patterns(member: string | undefined, given: readonly Item[]): void {
    if (member === 'escape' || member === 'unescape') return;
    const first = member === 'new' ? 0 : 1;
    let at = 0;
    for (const item of given) {
      if (item.kind === 'sign' && item.text === ',') at += 1;
      else if (at >= first && item.kind !== 'group') this.#verdicts.refuseHoles([item], 'pattern');
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
    this.#verdicts.refuseAll(this.texts(items.slice(index + 1, end)), 'code_type');
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
    this.#verdicts.refuseAll(this.texts(items.slice(begin, index)), 'code_type');
  }

  /** `[type]::new(…)` */
  #madeOf(type: Item | undefined, given: readonly Item[]): void {
    if (type?.kind !== 'group' || type.open !== '[') {
      this.#verdicts.refuseAllFor(given, {
        why: 'is an argument of ::new(…) of a type that is only known when the script runs',
        fix: () => 'Write the type itself: [Type]::new("…").',
      });
      return;
    }
    const name = textIn(type.inner);
    if (!typesOfQueries.test(name) && !codeTypes.test(name)) return;
    this.#verdicts.refuseAllFor(this.texts(given), {
      why: `is an argument of [${name.slice(0, 100)}]::new(…), which makes a query or a command line of it`,
      fix: () =>
        'Give it to a query as a parameter: $command.Parameters.AddWithValue("@name", …). Filter what comes from LDAP and WMI behind it, with Where-Object; call a program itself.',
    });
  }

  /** Leaves out variables that hold only connections and commands. */
  texts(items: readonly Item[]): Item[] {
    return items.filter((item, at) => {
      const next = items[at + 1];
      const isWhole = next?.glued !== true || next.kind === 'sign';
      return !(item.kind === 'variable' && isWhole && this.#verdicts.holders.isObject(item.name));
    });
  }
}
