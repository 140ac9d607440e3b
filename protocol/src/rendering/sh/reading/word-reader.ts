// Parses words: quotes, expansions, substitutions. The parser of commands is passed in for the commands inside
// substitutions, because each contains the other.
import { type Nesting, Unreadable } from './nesting.ts';
import { addText, isOpenElement, lastText, onlyText, operatorText } from './segment-text.ts';
import { holeMark, type List, type Quoting, type Segment, type Word } from './syntax.ts';

const metacharacters = new Set([' ', '\t', '\n', ';', '&', '|', '<', '>', '(', ')']);
const special = /[@*#?$!0-9-]/;
/** Name of the arguments of `sh -c '…'`. */
export const ownArguments = 'own arguments';
/** For bash, `a[i + 1]=…` is one word where a command begins, for other shells it is several. */
export const openSubscript = 'a subscript has a blank or an operator in it; write it without';
/** Runs of text in which nothing can begin or end, in any context. */
const plainBare = /[^\s;&|<>()"'\\$`[\]{}\uFDD0]+/y;
const plainQuoted = /[^"'\\$`()[\]{}\uFDD0]+/y;

/** Results for each `$((`, which can be parsed in two ways, so that nothing is parsed twice in both ways. */
export type ReadBefore = Map<string, { segment: Segment; end: number } | Unreadable>;

export interface CommandsWithin {
  nesting: Nesting;
  readBefore: ReadBefore;
  /** Parses commands from `at` to an unmatched `)`, and returns the position of that. */
  toParenthesis(at: number, end: number): { list: List; end: number };
  /** Parses a separate text as a whole: the content of backticks. */
  whole(text: string, at: number): List;
  /** Whether it is bash for certain, not any `sh`. */
  isBash: boolean;
  /** Whether `$1` is not that of the script: in the text of `sh -c '…'`. */
  hasOwnArguments: boolean;
}

export class WordReader {
  at: number;
  readonly text: string;
  readonly end: number;
  readonly #commands: CommandsWithin;

  constructor(text: string, at: number, end: number, commands: CommandsWithin) {
    this.text = text;
    this.at = at;
    this.end = end;
    this.#commands = commands;
  }

  peek(offset = 0): string {
    const at = this.at + offset;
    return at < this.end ? (this.text[at] as string) : '';
  }

  starts(wanted: string): boolean {
    return this.at + wanted.length <= this.end && this.text.startsWith(wanted, this.at);
  }

  /** Parses one word; `undefined` if none begins here. */
  word(): Word | undefined {
    const at = this.at;
    const segments: Segment[] = [];
    // Once it isn't a name it never will be, so that brackets don't cause the whole word to be read again.
    let mayBeName = true;
    while (this.at < this.end) {
      const char = this.peek();
      if ((char === '<' || char === '>') && this.peek(1) === '(' && segments.length === 0) {
        segments.push({ ...this.#substitution('process', 'bare', 2), isOutput: char === '>' });
      } else if (char === '(' && this.#isArray(segments)) {
        segments.push(this.#array());
        if (this.at < this.end && !metacharacters.has(this.peek()))
          throw new Unreadable('something touches the end of an array', this.at);
      } else if (char === '(' && /[?*+@!]$/.test(lastText(segments))) {
        segments.push(this.#extglob());
      } else if (metacharacters.has(char)) {
        break;
      } else if (char === '[' && mayBeName) {
        mayBeName = /^[A-Za-z_]\w*$/.test(onlyText(segments) ?? '');
        if (mayBeName) segments.push(this.#subscript());
        else this.#piece(segments, 'bare');
        mayBeName = false;
      } else {
        this.#piece(segments, 'bare');
      }
    }
    return segments.length === 0 && this.at === at ? undefined : { segments, at, end: this.at };
  }

  /** Parses the text of a here-document, which expands as in double quotes. */
  expandable(from: number, end: number): Segment[] {
    const within = new WordReader(this.text, from, end, this.#commands);
    const segments: Segment[] = [];
    while (within.at < within.end) within.#quotedPiece(segments, 'heredoc');
    return segments;
  }

  /** Starts after `((` and reads up to `))`, or after `$[` and reads up to `]`: only such brackets count. */
  arithmetic(close: '))' | ']'): Segment[] {
    const segments: Segment[] = [];
    const [open, shut] = close === ']' ? '[]' : '()';
    let depth = 0;
    let isQuoted = false;
    for (;;) {
      if (this.at >= this.end) throw new Unreadable('the arithmetic is not closed', this.at);
      if (depth === 0 && !isQuoted && this.starts(close)) {
        this.at += close.length;
        return segments;
      }
      const char = this.peek();
      if (char === open) depth += 1;
      if (char === shut) depth -= 1;
      if (depth < 0) throw new Unreadable('the arithmetic is not closed', this.at);
      if (isQuoted && (char === open || char === shut))
        throw new Unreadable('quotes in arithmetic are read differently by each shell', this.at);
      if (char === '"') {
        isQuoted = !isQuoted;
        this.at += 1;
      } else if (char === "'") {
        throw new Unreadable('quotes in arithmetic are read differently by each shell', this.at);
      } else this.#quotedPiece(segments, 'arithmetic');
    }
  }

  /**
   * Whether a shell takes what follows `((` for arithmetic: the parenthesis that closes the inner one is followed by
   * that of the outer one. Some shells count parentheses in quotes.
   */
  isArithmetic(from: number): boolean {
    return [true, false].some((quotesCount) => {
      const parts = quotesCount ? /\\[\s\S]|'[^']*'|"(?:[^"\\]|\\[\s\S])*"|[()]/g : /[()]/g;
      let depth = 0;
      for (const { 0: part, index } of this.text.slice(from, this.end).matchAll(parts)) {
        if (part === '(') depth += 1;
        else if (part === ')') depth -= 1;
        if (depth < 0) return this.text[from + index + 1] === ')';
      }
      return false;
    });
  }

  /** One quoted string, expansion, escape or character. */
  #piece(segments: Segment[], quoting: 'bare'): void {
    const at = this.at;
    const char = this.peek();
    if (char === "'") {
      segments.push(...this.#single(at + 1, 'single', (from) => this.text.indexOf("'", from)));
    } else if (char === '"') {
      this.at += 1;
      this.#double(segments);
    } else if (char === '$' && this.peek(1) === "'") {
      segments.push(...this.#single(at + 2, 'ansi', (from) => this.#endOfAnsi(from)));
    } else if (char === '$' && this.peek(1) === '"') {
      this.at += 2;
      this.#double(segments);
    } else this.#commonPiece(segments, quoting);
  }

  #quotedPiece(segments: Segment[], quoting: 'double' | 'heredoc' | 'arithmetic'): void {
    this.#commonPiece(segments, quoting);
  }

  #commonPiece(segments: Segment[], quoting: Quoting): void {
    const at = this.at;
    const char = this.peek();
    if (char === holeMark) {
      this.at += 1;
      segments.push({ kind: 'hole', quoting, at });
    } else if (char === '\\') {
      this.#escape(segments, quoting);
    } else if (char === '$') {
      segments.push(this.#dollar(quoting));
    } else if (char === '`') {
      segments.push(this.#backtick(quoting));
    } else {
      const plain = quoting === 'bare' ? plainBare : plainQuoted;
      plain.lastIndex = at;
      const run = plain.test(this.text) ? plain.lastIndex : at + 1;
      this.at = Math.min(run, this.end);
      addText(segments, this.text.slice(at, this.at), quoting, at);
    }
  }

  #escape(segments: Segment[], quoting: Quoting): void {
    const at = this.at;
    const next = this.peek(1);
    this.at += next === '' ? 1 : 2;
    if (next === '\n') return;
    if (next === holeMark) segments.push({ kind: 'hole', quoting: 'escaped', at: at + 1 });
    else if (quoting === 'bare') addText(segments, next, 'escaped', at);
    else
      addText(
        segments,
        /[$`"\\]/.test(next) ? next : `\\${next}`,
        quoting === 'double' ? 'double' : quoting,
        at,
      );
  }

  #double(segments: Segment[]): void {
    const at = this.at - 1;
    // An empty pair of quotes counts too: it makes a word, and that word is not an option.
    addText(segments, '', 'double', at);
    while (this.at < this.end) {
      if (this.peek() === '"') {
        this.at += 1;
        return;
      }
      this.#quotedPiece(segments, 'double');
    }
    throw new Unreadable('a double quote is not closed', at);
  }

  #single(from: number, quoting: 'single' | 'ansi', endFrom: (from: number) => number): Segment[] {
    const end = endFrom(from);
    if (end < 0 || end >= this.end) throw new Unreadable('a single quote is not closed', this.at);
    const segments: Segment[] = [];
    addText(segments, '', quoting, from);
    for (let at = from; at < end; ) {
      if (this.text[at] === holeMark) {
        segments.push({ kind: 'hole', quoting, at });
        at += 1;
        continue;
      }
      const hole = this.text.indexOf(holeMark, at);
      const next = hole < 0 || hole > end ? end : hole;
      addText(segments, this.text.slice(at, next), quoting, at);
      at = next;
    }
    this.at = end + 1;
    return segments;
  }

  #endOfAnsi(from: number): number {
    for (let at = from; at < this.end; at += 1) {
      if (this.text[at] === '\\') {
        at += 1;
        if (this.text[at] === "'" && !this.#commands.isBash)
          throw new Unreadable("a \\' in $'…', where some shells end the quotes", at);
      } else if (this.text[at] === "'") return at;
    }
    return -1;
  }

  #dollar(quoting: Quoting): Segment {
    const at = this.at;
    const next = this.peek(1);
    if (/^\$(\{[#!]?)?\w*\\\n/.test(this.text.slice(at, Math.min(this.end, at + 200))))
      throw new Unreadable('a line ends within what follows a $', at);
    if (next === '(') {
      return this.peek(2) === '('
        ? this.#doubleParenthesis(quoting)
        : this.#substitution('dollar', quoting, 2);
    }
    if (next === '{') return this.#braces(quoting);
    if (next === '[' && quoting !== 'arithmetic') {
      this.at += 2;
      const inner = this.#commands.nesting.within(at, () => this.arithmetic(']'));
      if (!this.#commands.isBash && /[;&|<>()\n"'`\\#]/.test(this.text.slice(at, this.at)))
        throw new Unreadable('sh knows no $[…]; write $((…))', at);
      return { kind: 'group', what: 'old_arithmetic', inner, at, quoting };
    }
    const name = /^[A-Za-z_]\w*/.exec(this.text.slice(at + 1, Math.min(this.end, at + 200)))?.[0];
    if (name !== undefined) {
      this.at += 1 + name.length;
      return { kind: 'parameter', name, quoting, at };
    }
    if (special.test(next)) {
      this.at += 2;
      return { kind: 'parameter', name: this.#ownName(next), quoting, at };
    }
    this.at += 1;
    return { kind: 'text', text: '$', quoting, at };
  }

  /** `"$@"`, which `for name` means without `in`. */
  allArguments(): Word {
    const { at } = this;
    return {
      segments: [{ kind: 'parameter', name: this.#ownName('@'), quoting: 'double', at }],
      at,
      end: at,
    };
  }

  #ownName(name: string): string {
    return this.#commands.hasOwnArguments && /^([1-9]\d*|[@*])$/.test(name) ? ownArguments : name;
  }

  /** `$((`: arithmetic, or a subshell in a command substitution that is written without a space. */
  #doubleParenthesis(quoting: Quoting): Segment {
    const at = this.at;
    const { nesting, readBefore } = this.#commands;
    const key = `${at} ${this.end} ${quoting}`;
    const before = readBefore.get(key);
    if (before instanceof Unreadable) throw before;
    if (before !== undefined) {
      this.at = before.end;
      return before.segment;
    }
    try {
      const segment = nesting.within(at, () => this.#eitherWay(at, quoting));
      readBefore.set(key, { segment, end: this.at });
      return segment;
    } catch (error) {
      if (error instanceof Unreadable) readBefore.set(key, error);
      throw error;
    }
  }

  #eitherWay(at: number, quoting: Quoting): Segment {
    this.at += 3;
    try {
      return { kind: 'arithmetic', inner: this.arithmetic('))'), at, quoting };
    } catch (error) {
      if (!(error instanceof Unreadable) || error.final || this.isArithmetic(at + 3)) throw error;
      this.at = at;
      return this.#substitution('dollar', quoting, 2);
    }
  }

  #substitution(
    style: 'dollar' | 'process',
    quoting: Quoting,
    opening: number,
  ): Segment & { kind: 'command' } {
    const at = this.at;
    const { nesting, toParenthesis } = this.#commands;
    const { list, end } = nesting.within(at, () => toParenthesis(at + opening, this.end));
    this.at = end + 1;
    return { kind: 'command', style, body: list, quoting, at };
  }

  #backtick(quoting: Quoting): Segment {
    const at = this.at;
    const holes: number[] = [];
    let text = '';
    for (this.at += 1; this.at < this.end; this.at += 1) {
      const char = this.peek();
      if (char === '`') {
        this.at += 1;
        const { nesting, whole } = this.#commands;
        const body = nesting.within(at, () => whole(text, at + 1));
        return { kind: 'command', style: 'backtick', body, holes, quoting, at };
      }
      if (char === '\\' && /[$`\\]/.test(this.peek(1))) this.at += 1;
      if (this.peek() === holeMark) holes.push(this.at);
      text += this.peek();
    }
    throw new Unreadable('a backtick is not closed', at);
  }

  #braces(quoting: Quoting): Segment {
    return this.#commands.nesting.within(this.at, () => this.#readBraces(quoting));
  }

  #readBraces(quoting: Quoting): Segment {
    const at = this.at;
    this.at += 2;
    let prefix: '#' | '!' | undefined;
    if ((this.peek() === '#' || this.peek() === '!') && /[A-Za-z_0-9@*]/.test(this.peek(1))) {
      prefix = this.peek() as '#' | '!';
      this.at += 1;
    }
    const name = /^([A-Za-z_]\w*|\d+|[@*#?$!-])/.exec(
      this.text.slice(this.at, Math.min(this.end, this.at + 200)),
    )?.[0];
    this.at += name?.length ?? 0;
    const operator: Segment[] = [];
    while (this.peek() !== '}') {
      if (this.at >= this.end) throw new Unreadable('a ${ is not closed', at);
      const char = this.peek();
      const takesQuotes = quoting === 'bare' || this.#takesQuotes(operator);
      if (char === '"') {
        this.at += 1;
        this.#double(operator);
      } else if (char === "'" && takesQuotes) {
        operator.push(...this.#single(this.at + 1, 'single', (from) => this.text.indexOf("'", from)));
      } else if (this.starts("$'") && takesQuotes) {
        operator.push(...this.#single(this.at + 2, 'ansi', (from) => this.#endOfAnsi(from)));
      } else this.#commonPiece(operator, quoting);
    }
    this.at += 1;
    return {
      kind: 'parameter',
      name: this.#ownName(name ?? ''),
      ...(operator.length === 0 && name !== undefined ? {} : { operator }),
      ...(prefix === undefined ? {} : { prefix }),
      quoting,
      at,
    };
  }

  /** Whether a single quote begins quotes in `"${…}"`: in a pattern it does, in a default it doesn't. */
  #takesQuotes(operator: readonly Segment[]): boolean {
    const text = operatorText(operator);
    const isOdd = text.startsWith('[') && !/^\[[^\]]*\]./.test(text);
    const [sign = ''] = text.replace(/^\[[^\]]*\]/, '');
    const quoted = /^'[\w\s.,:/-]*'/.test(this.text.slice(this.at, Math.min(this.end, this.at + 200)));
    if (this.peek() === "'" && !quoted && (isOdd || (sign === '/' && !this.#commands.isBash)))
      throw new Unreadable('a quote that some shells take for text', this.at);
    return /[#%/]/.test(sign);
  }

  #isArray(segments: readonly Segment[]): boolean {
    return /^[A-Za-z_]\w*\+?=$/.test(onlyText(segments) ?? '');
  }

  #array(): Segment {
    const at = this.at;
    const words: Word[] = [];
    this.at += 1;
    for (;;) {
      while (/[ \t\n]/.test(this.peek())) this.at += 1;
      if (this.peek() === '#') throw new Unreadable('a comment in an array', this.at);
      if (this.peek() === ')') break;
      const word = this.word();
      if (word === undefined) throw new Unreadable('the array is not closed', at);
      if (isOpenElement(word)) throw new Unreadable(openSubscript, word.at);
      words.push(word);
    }
    this.at += 1;
    return { kind: 'array', words, at, quoting: 'bare' };
  }

  #extglob(): Segment {
    const at = this.at;
    const inner: Segment[] = [];
    this.at += 1;
    for (let depth = 1; depth > 0; ) {
      if (this.at >= this.end) throw new Unreadable('a parenthesis is not closed', at);
      if (this.peek() === '(') depth += 1;
      if (this.peek() === ')') depth -= 1;
      if (depth > 0) this.#piece(inner, 'bare');
    }
    this.at += 1;
    return { kind: 'group', what: 'extglob', inner, at, quoting: 'bare' };
  }

  /** `name[…` at the beginning of a word: a glob or an array subscript, which ends with the word at the latest. */
  #subscript(): Segment {
    const at = this.at;
    const inner: Segment[] = [];
    this.at += 1;
    let depth = 1;
    while (this.at < this.end && !metacharacters.has(this.peek())) {
      if (this.peek() === '[') depth += 1;
      if (this.peek() === ']') depth -= 1;
      if (depth === 0) break;
      this.#piece(inner, 'bare');
    }
    if (depth === 0) this.at += 1;
    return { kind: 'group', what: 'subscript', inner, at, quoting: 'bare', isOpen: depth > 0 };
  }
}
