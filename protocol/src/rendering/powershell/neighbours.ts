// Determines from its neighbors what an item of a PowerShell script is: a type, a member, a call, an argument.
import type { Item } from './read-items.ts';
import { deep, isOperator, isWord, literalOf } from './statements.ts';

export type Group = Extract<Item, { kind: 'group' }>;

/** Whether an item is a group in square brackets: `[int]`. */
export function isType(item: Item | undefined): item is Group {
  return item?.kind === 'group' && item.open === '[';
}

/** `.Name`, `::Name`; but not a range after a value: `..`, `.Count..` */
export function isMember(item: Item | undefined): boolean {
  return item?.kind === 'word' && /^\??(\.|::)/.test(item.text) && !item.text.endsWith('..');
}

/** `$x[0]`; but `[a][b] …` are two types. */
export function isIndex(item: Item, before: Item | undefined, indexes: ReadonlySet<Item>): boolean {
  if (!item.glued || before === undefined || before.kind === 'sign' || before.kind === 'word') return false;
  return !isType(before) || indexes.has(before);
}

export interface Call {
  /** In lowercase; `undefined` if it is only known when the script runs. */
  member: string | undefined;
  given: readonly Item[];
  /** `[type]::name(…)` */
  isStatic: boolean;
}

/** `.name(…)`, `::name(…)`, `."name"(…)` */
export function callOf(items: readonly Item[], index: number): Call | undefined {
  const [item, next, after] = items.slice(index, index + 3) as [Item, Item, Item | undefined];
  const word = wordOf(item)?.toLowerCase() ?? '';
  const member = /(?:^|\.|::)([a-z_]\w*)$/.exec(word)?.[1];
  if (isCall(next) && member !== undefined && /\.|::/.test(word))
    return { member, given: next.inner, isStatic: word.endsWith(`::${member}`) };
  const isNamedBehind = index > 0 && item.glued && isMember(item) && /[.:]$/.test(word);
  if (!isNamedBehind || after?.glued !== true || !isCall(after)) return undefined;
  return { member: literalOf(next)?.toLowerCase(), given: after.inner, isStatic: word.endsWith('::') };
}

function isCall(item: Item): item is Group {
  return item.kind === 'group' && item.open === '(';
}

/** Whether an item ends the operand before it: any sign but a comma. */
export function endsOperand(item: Item): boolean {
  return item.kind === 'sign' && item.text !== ',';
}

/** Whether an item is attached to a value and calls or accesses part of it. */
export function isPartOf(item: Item, before: Item): boolean {
  return item.kind === 'group' || isMember(item) || (isMember(before) && /[.:]$/.test(wordOf(before) ?? ''));
}

/** The arguments of an attribute like `[Parameter(…)]` are not a type. */
export function typeIn(inner: readonly Item[]): string {
  return inner.some((item) => item.kind === 'group' && item.open === '(') ? '' : textIn(inner);
}

/** Whether the items are exactly `[type]::new(…)`. */
export function isMade(items: readonly Item[]): boolean {
  const [type, member, given] = items;
  return items.length === 3 && isType(type) && isWord(member, '::new') && given?.kind === 'group';
}

/** `param(…)`, `function name(…)` */
export function isDeclaration(items: readonly Item[], index: number): boolean {
  const item = items[index];
  if (item?.kind !== 'group' || item.open !== '(') return false;
  return (
    isWord(items[index - 1], 'param') ||
    isWord(items[index - 2], 'function') ||
    isWord(items[index - 2], 'filter')
  );
}

/** In an expression, an operand is followed by an operator; anything else would be an argument of it. */
export function takesArguments(next: Item | undefined): boolean {
  if (next === undefined || next.kind === 'sign') return false;
  if (next.kind === 'group') return next.open !== '[' && next.open !== '(';
  return next.kind !== 'word' || !(isOperator(next.text) || /^(\.|::|\+\+|--$|in$)/.test(next.text));
}

/** Returns the text of all words in the items, at any depth. */
export function textIn(items: readonly Item[]): string {
  let text = '';
  for (const item of deep(items)) if (item.kind === 'word') text += item.text;
  return text;
}

/** Returns the text of an item that is a word; undefined for others. */
export function wordOf(item: Item | undefined): string | undefined {
  return item?.kind === 'word' ? item.text : undefined;
}

/** `foreach` and `switch` are also commands: `… | foreach { }`. */
export function isCalled(next: Item | undefined): boolean {
  return next?.kind === 'word' && next.text.startsWith('-');
}

/** Returns the known part of a command's name: all of it, or a literal end after a folder. */
export function literalName(items: readonly Item[]): string | undefined {
  const parts = [...items].flatMap((item) => (item.kind === 'string' ? item.inner : [item]));
  let text = '';
  for (const part of parts.toReversed()) {
    if (part.kind !== 'word') return /[\\/]/.test(text) ? text : undefined;
    text = part.text + text;
  }
  return text;
}
