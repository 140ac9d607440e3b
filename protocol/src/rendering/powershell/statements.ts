// Groups items into statements, pipelines and commands.
import { typesOfObjects } from './commands.ts';
import type { Item } from './read-items.ts';

const operators =
  /^([-+*/%!]|\.\.|-(and|or|xor|not|band|bor|bxor|bnot|shl|shr|f|is|isnot|as|join|[ci]?(eq|ne|gt|ge|lt|le|(not)?(like|match|contains|in)|replace|split)))$/i;

/** Whether a word is an operator between or before operands. A typographic dash counts as `-`. */
export function isOperator(text: string): boolean {
  return operators.test(text.replace(/^[–—―]/, '-'));
}

const beforeExpressions = new Set(['return', 'throw', 'exit', 'break', 'continue', 'else', 'do', 'in']);
/** Keywords that go on with a statement, and those that begin the part of it before them. */
const continues: ReadonlyMap<string, ReadonlySet<string>> = new Map([
  ...['else', 'elseif'].map((word) => [word, new Set(['if', 'elseif'])] as const),
  ...['catch', 'finally'].map((word) => [word, new Set(['try', 'catch'])] as const),
  ...['while', 'until'].map((word) => [word, new Set(['do'])] as const),
]);
/** Keywords that end with a block in braces, after which another statement can begin on the same line. */
export const withBlock = new Set(
  `if elseif else foreach for while do until switch try catch finally trap function filter workflow configuration param
  begin process end dynamicparam clean class enum data parallel sequence inlinescript`.split(/\s+/),
);

/** Whether a line ends a statement within this group. In parentheses only those of `for` may have several. */
export function splitsAtLines(items: readonly Item[], index: number): boolean {
  const item = items[index];
  const isOpen = item?.kind !== 'group' || (item.open !== '(' && item.open !== '[');
  return isOpen || isWord(items[index - 1], 'for');
}

/** Returns the statements in a list of items. In doubt, two are treated as one. */
export function statementsOf(items: readonly Item[], isSplit: boolean): Item[][] {
  const statements: Item[][] = [];
  let current: Item[] = [];
  let reader = new RunReader();
  // In a run of empty lines, the first one decides.
  let ends: boolean | undefined;
  let isNewLine = false;
  for (const [index, item] of items.entries()) {
    const isLineEnd = item.kind === 'sign' && item.text === '\n';
    if (!isLineEnd) ends = undefined;
    else ends ??= isSplit && !goesOn(current, reader, items, index);
    const isEnd = isLineEnd ? ends === true : item.kind === 'sign' && item.text === ';';
    if (isEnd) {
      if (current.length > 0) statements.push(current);
      current = [];
      reader = new RunReader();
    } else if (!isLineEnd) {
      reader.add(item);
      // Its line end has been removed, so it no longer counts as attached.
      current.push(isNewLine && item.glued ? { ...item, glued: false } : item);
    }
    isNewLine = isLineEnd;
  }
  if (current.length > 0) statements.push(current);
  return statements;
}

function goesOn(
  current: readonly Item[],
  reader: RunReader,
  items: readonly Item[],
  lineEnd: number,
): boolean {
  const last = current.at(-1);
  if (last?.kind === 'sign' && /^(\||\|\||&&|,)$/.test(last.text)) return true;
  // Among the arguments of a command, `=` and its like are arguments. A line that ends in a redirection is complete
  // (`2>&1`), or an error (`>`).
  const isOperand =
    last?.kind === 'word'
      ? isOperator(last.text) || /^\.?\d.*([-+*/%]|\.\.)$/.test(last.text)
      : last !== undefined && isAssignment(last);
  if (isOperand && !reader.isCommand) return true;
  let at = lineEnd + 1;
  while (at < items.length) {
    const item = items[at] as Item;
    if (item.kind === 'sign' && item.text === '\n') at += 1;
    else if (item.kind === 'word') {
      if (/^\.[a-z_]/i.test(item.text)) return last?.kind !== 'word' || !isName(last.text);
      const begun = continues.get(item.text.toLowerCase());
      return begun?.has(reader.closed ?? '') === true;
    } else return item.kind === 'group' ? item.open === '{' : item.kind === 'sign' && /^[|&]/.test(item.text);
  }
  return false;
}

/**
 * Whether it is a number, a sign before one or before what follows, or an operator such as `-not`. Any other word calls a
 * command: `.\tool.exe`, `7z.exe`, even `-Name`.
 */
function beginsExpression(word: string): boolean {
  const unsigned = word.replace(/^[-–—―+!]+/, '');
  const number =
    /^(0x[\da-f]+|(\d+(\.\d*)?|\.\d+)(e[-+]?\d+)?)(u?[lsy]|[und])?([kmgtp]b)?(?![\w\\/]|\.[\w\\/])/i;
  return unsigned === '' || number.test(unsigned) || /^[-–—―](b?not|join|[ci]?split)\b/i.test(word);
}

/**
 * Returns the parts of a command between which a statement ends without a sign: after the block of a keyword, as in
 * `if (…) { … } command`, `$x = if (…) { … } command` and `:label while (…) { … } command`.
 */
export function runsOf(command: readonly Item[]): Item[][] {
  const runs: Item[][] = [[]];
  const reader = new RunReader();
  for (const item of command) {
    if (reader.add(item)) runs.push([]);
    runs.at(-1)?.push(item);
  }
  return runs.filter((run) => run.length > 0);
}

/** Follows a statement item by item, so that each line end of a long one costs no more than that of a short one. */
class RunReader {
  /** Whether what follows is an argument of a command, where nothing is an operator. */
  isCommand = false;
  /** The keyword whose block has just ended. */
  closed: string | undefined;
  /** The keyword whose block is still to come, and the one before it in its statement. */
  #keyword: string | undefined;
  #before: string | undefined;
  #isHead = true;

  /** Returns whether another statement begins with it. */
  add(item: Item): boolean {
    if (item.kind === 'sign' && /^(\||\|\||&&|&)$/.test(item.text)) {
      this.#begin();
      this.isCommand = item.text === '&';
      return false;
    }
    const word = item.kind === 'word' ? item.text.toLowerCase() : '';
    const { closed } = this;
    const goesOn = closed !== undefined && continues.get(word)?.has(closed) === true;
    if (closed !== undefined) this.#begin();
    if (goesOn) this.#before = closed;
    this.#read(item, word);
    return closed !== undefined && !goesOn;
  }

  #begin(): void {
    this.isCommand = false;
    this.#isHead = true;
    this.#keyword = this.#before = this.closed = undefined;
  }

  #read(item: Item, word: string): void {
    if (this.isCommand) return;
    if (this.#keyword !== undefined) {
      const isEndOfDo = this.#before === 'do' && (this.#keyword === 'while' || this.#keyword === 'until');
      const open = this.#keyword === 'param' || isEndOfDo ? '(' : '{';
      if (item.kind === 'group' && item.open === open) this.closed = this.#keyword;
    } else if (isAssignment(item)) this.#isHead = true;
    else if (this.#isHead && withBlock.has(word)) this.#keyword = word;
    else if (this.#isHead && !mayPrecedeKeyword(item, word)) {
      this.isCommand = item.kind === 'word' && !beginsExpression(item.text);
      this.#isHead = false;
    }
  }
}

/** `return if …`, `:label while …`, `[attribute()] param …`, and what is assigned to. */
function mayPrecedeKeyword(item: Item, word: string): boolean {
  if (item.kind === 'word') return beforeExpressions.has(word) || word.startsWith(':');
  return item.kind === 'group' && item.open === '[';
}

/** Returns the commands of a pipeline. `&&` and `||` separate pipelines too, which makes no difference here. */
export function commandsOf(statement: readonly Item[]): Item[][] {
  const commands: Item[][] = [[]];
  for (const item of statement) {
    if (item.kind === 'sign' && /^(\||\|\||&&)$/.test(item.text)) commands.push([]);
    // `&` calls what follows, or runs what precedes in the background: either way a command follows.
    else if (item.kind === 'sign' && item.text === '&') commands.push([item]);
    else commands.at(-1)?.push(item);
  }
  return commands;
}

/** A number, or the beginning of a range: `0x1f`, `1.5e3`, `10mb`, `1..`. But `7z` is a command. */
const number =
  /^(0x[\da-f]+|\d+(\.\d+)?(e[+-]?\d+)?|\.\d+)(u?[ysl]|[und])?([kmgtp]b)?(\.\..*|\.|[-+*/%].*)?$/i;

/** Whether a word can be the name of a command: it is no number, and no member of a value. */
export function isName(text: string): boolean {
  return /^[\p{L}\p{N}_.?%\\/~]/u.test(text) && !/^(\.|::)[A-Za-z]/.test(text) && !number.test(text);
}

/** Whether a command begins with this item: by its name, or with `&`. */
export function beginsCommand(item: Item | undefined): boolean {
  return item?.kind === 'sign' ? item.text === '&' : item?.kind === 'word' && isName(item.text);
}

/** Whether an item assigns: `=`, `+=`, `??=`. */
export function isAssignment(item: Item): boolean {
  return item.kind === 'sign' && /^(=|[-+*/%]=|\?\?=)$/.test(item.text);
}

/** Yields the items and all that they contain. */
export function* deep(items: readonly Item[]): Generator<Item> {
  for (const item of items) {
    yield item;
    if (item.kind === 'group' || item.kind === 'string') yield* deep(item.inner);
  }
}

/**
 * Whether the items create a connection or command: `[…Command]::new(…)`, `New-Object …Command`,
 * `$connection.CreateCommand()`.
 */
export function makesObject([first, second, third, more]: readonly Item[]): boolean {
  if (isWord(first, 'new-object')) {
    return (
      second?.kind === 'word' &&
      typesOfObjects.test(second.text) &&
      (third === undefined || more === undefined)
    );
  }
  if (second?.kind !== 'word' || third?.kind !== 'group' || third.open !== '(' || more !== undefined)
    return false;
  const member = second.text.toLowerCase();
  if (first?.kind === 'variable') return member === '.createcommand';
  const type = first?.kind === 'group' && first.open === '[' ? first.inner[0] : undefined;
  return member === '::new' && type?.kind === 'word' && typesOfObjects.test(type.text);
}

/** Returns `undefined` if it is only known when the script runs. */
export function literalOf(item: Item | undefined): string | undefined {
  if (item?.kind === 'word') return item.text;
  if (item?.kind !== 'string') return undefined;
  let text = '';
  for (const inner of item.inner) {
    if (inner.kind !== 'word') return undefined;
    text += inner.text;
  }
  return text;
}

/** Whether an item is this word, which is given in lower case. */
export function isWord(item: Item | undefined, text: string): boolean {
  return item?.kind === 'word' && item.text.toLowerCase() === text;
}
