// Parses a PowerShell script into nested items: words, variables, strings and bracketed contents. It doesn't check
// correctness: if it can't make sense of something it says so, and no value may then stand in that script.

import { Nesting, Unreadable } from '../sh/reading/nesting.ts';
import { holeMark } from '../sh/reading/syntax.ts';

export type Opening = '(' | '{' | '[' | '$(' | '@(' | '@{';
interface Placed {
  at: number;
  /** Whether no blank separates it from what precedes it. */
  glued: boolean;
}
export type Item = Placed &
  (
    | { kind: 'word'; text: string }
    /** `env:NAME`, or the name without its scope; in lowercase. */
    | { kind: 'variable'; name: string }
    | { kind: 'hole'; where: 'bare' | 'double' | 'here' | 'single' | 'comment' | 'verbatim' | 'escaped' }
    | { kind: 'string'; expands: boolean; inner: Item[] }
    | { kind: 'group'; open: Opening; inner: Item[] }
    /** `;`, a line end, `|`, `=`, `,`, `&`, `>` and similar. */
    | { kind: 'sign'; text: string }
  );

const single = /['\u2018\u2019\u201a\u201b]/;
const double = /["\u201c\u201d\u201e]/;
const closing: Record<Opening, string> = { '(': ')', '{': '}', '[': ']', '$(': ')', '@(': ')', '@{': '}' };
const variableName = /\$(?:\{([^}`]*)\}|((?:[\p{L}\p{N}_]+:(?=[\p{L}\p{N}_?]))?[\p{L}\p{N}_?]+|[$^?]))/uy;
const plainText = /[^\s;|&(){},"'\u2018\u2019\u201a\u201b\u201c\u201d\u201e`$<>=[\]#@\uFDD0]+/y;
const plainQuoted = /[^"\u201c\u201d\u201e`$\uFDD0]+/y;

/** @throws {Unreadable} */
export function readItems(text: string): Item[] {
  // PowerShell ends a line there, and takes the second one for a blank.
  const odd = text.search(/\r(?!\n)|\u0085/);
  if (odd >= 0) throw new Unreadable('a line ends with a carriage return or U+0085 alone', odd);
  return new Reader(text).whole();
}

class Reader {
  readonly #text: string;
  readonly #nesting = new Nesting();
  /** The closers of the open brackets, the innermost last. */
  readonly #closers: string[] = [];
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  whole(): Item[] {
    const items = this.#items(undefined);
    if (this.#at < this.#text.length) throw new Unreadable(`${this.#char()} closes nothing`, this.#at);
    return items;
  }

  #char(offset = 0): string {
    return this.#text[this.#at + offset] ?? '';
  }

  /** Reads up to the closing bracket, which is not consumed. */
  #items(close: string | undefined): Item[] {
    const items: Item[] = [];
    let glued = false;
    while (this.#at < this.#text.length) {
      const char = this.#char();
      if (char === close || char === ')' || char === '}') break;
      if (char === '`' && /^`\r?\n/.test(this.#text.slice(this.#at, this.#at + 3))) {
        this.#at += this.#char(1) === '\r' ? 3 : 2;
        // Parsers disagree on whether the command ends there.
        if (/^[^\S\n]*\n/.test(this.#text.slice(this.#at)))
          throw new Unreadable('a ` goes on with an empty line', this.#at);
        glued = false;
      } else if (char !== '\n' && /\s/.test(char)) {
        this.#at += 1;
        glued = false;
      } else if (char === '#' || this.#text.startsWith('<#', this.#at)) {
        if (glued && !endsItem(items.at(-1))) {
          throw new Unreadable('a # stands where it may be text or a comment', this.#at);
        }
        this.#comment(items);
        glued = false;
      } else {
        this.#item(items, glued);
        glued = true;
      }
    }
    return items;
  }

  #comment(items: Item[]): void {
    const isBlock = this.#char() === '<';
    const found = this.#text.indexOf(isBlock ? '#>' : '\n', this.#at);
    if (isBlock && found < 0) throw new Unreadable('a comment is not closed', this.#at);
    const end = found < 0 ? this.#text.length : found;
    this.#holes(items, this.#at, end, 'comment');
    this.#at = isBlock ? end + 2 : end;
  }

  #holes(items: Item[], from: number, end: number, where: 'comment' | 'single' | 'verbatim'): void {
    for (
      let at = this.#text.indexOf(holeMark, from);
      at >= 0 && at < end;
      at = this.#text.indexOf(holeMark, at + 1)
    ) {
      items.push({ kind: 'hole', where, at, glued: false });
    }
  }

  #item(items: Item[], glued: boolean): void {
    const at = this.#at;
    const char = this.#char();
    if (char === holeMark) {
      this.#at += 1;
      items.push({ kind: 'hole', where: 'bare', at, glued });
    } else if (char === '@' && (single.test(this.#char(1)) || double.test(this.#char(1)))) {
      items.push(this.#hereString(glued));
    } else if (single.test(char)) {
      items.push(this.#singleQuoted(glued));
    } else if (double.test(char)) {
      this.#at += 1;
      items.push(this.#doubleQuoted(at, glued));
    } else if (char === '$') {
      items.push(this.#dollar(glued));
    } else if (char === '(' || char === '{' || char === '[') {
      items.push(this.#group(char, 1, glued));
    } else if (char === '@' && (this.#char(1) === '(' || this.#char(1) === '{')) {
      items.push(this.#group(`@${this.#char(1)}` as Opening, 2, glued));
    } else if (char === '@' && /[\w]/.test(this.#char(1))) {
      // Splatting: `@parameters`
      this.#at += 1;
      const name = /^\w+/.exec(this.#text.slice(this.#at, this.#at + 200))?.[0] ?? '';
      this.#at += name.length;
      items.push({ kind: 'variable', name: name.toLowerCase(), at, glued });
    } else if (/[;\n|&,<>=]/.test(char)) {
      const text = /^(\|\||&&|>>|>&\d|==?|[;\n|&,<>])/.exec(this.#text.slice(at, at + 3))?.[0] ?? char;
      this.#at += text.length;
      items.push({ kind: 'sign', text, at, glued });
    } else this.#word(items, glued);
  }

  #word(items: Item[], glued: boolean): void {
    const at = this.#at;
    let text = '';
    while (this.#at < this.#text.length) {
      const char = this.#char();
      if (char === '`') {
        if (this.#char(1) === holeMark) {
          if (text !== '') items.push({ kind: 'word', text, at, glued });
          items.push({ kind: 'hole', where: 'escaped', at: this.#at + 1, glued: glued || text !== '' });
          this.#at += 2;
          return;
        }
        if (/[\r\n]/.test(this.#char(1))) break;
        // A newer PowerShell reads a character by its number.
        if (this.#char(1) === 'u' && this.#char(2) === '{')
          throw new Unreadable('a `u{ stands outside of quotes', this.#at);
        text += this.#char(1);
        this.#at += 2;
        continue;
      }
      // `+=`, or `=` after a member; otherwise it is part of the word.
      if (char === '=' && (/^([-+*/%]|\?\?|\.|::)/.test(text) || text === '')) {
        if (!/^([-+*/%]|\?\?)$/.test(text)) break;
        this.#at += 1;
        items.push({ kind: 'sign', text: `${text}=`, at, glued });
        return;
      }
      if (char === ']' && this.#closers.at(-1) === ']') break;
      plainText.lastIndex = this.#at;
      if (plainText.test(this.#text)) {
        text += this.#text.slice(this.#at, plainText.lastIndex);
        this.#at = plainText.lastIndex;
      } else if (/[=#@\]]/.test(char)) {
        text += char;
        this.#at += 1;
      } else break;
    }
    items.push({ kind: 'word', text, at, glued });
    if (text === '--%') {
      const rest = this.#text.slice(this.#at);
      const end = /^(?:"[^"\n]*(?:"|(?=\n|$))|&(?!&)|[^"\n|&])*/.exec(rest)?.[0].length ?? 0;
      const to = this.#at + end;
      this.#holes(items, this.#at, to, 'verbatim');
      this.#at = to;
    }
  }

  #group(open: Opening, length: number, glued: boolean): Item {
    const at = this.#at;
    this.#at += length;
    this.#closers.push(closing[open]);
    const inner = this.#nesting.within(at, () => this.#items(closing[open]));
    this.#closers.pop();
    if (this.#char() !== closing[open]) throw new Unreadable(`${open} is not closed`, at);
    this.#at += 1;
    return { kind: 'group', open, inner, at, glued };
  }

  #dollar(glued: boolean): Item {
    const at = this.#at;
    if (this.#char(1) === '(') return this.#group('$(', 2, glued);
    variableName.lastIndex = at;
    const found = variableName.exec(this.#text);
    if (found === null) {
      if (this.#char(1) === '{') throw new Unreadable('a variable has an odd name', at);
      this.#at += 1;
      return { kind: 'word', text: '$', at, glued };
    }
    const name = (found[1] ?? found[2] ?? '').toLowerCase();
    if (name.includes(holeMark)) throw new Unreadable('a placeholder stands in the name of a variable', at);
    this.#at = variableName.lastIndex;
    return {
      kind: 'variable',
      name: name.replace(/^(global|local|script|private|using|variable):/, ''),
      at,
      glued,
    };
  }

  #singleQuoted(glued: boolean): Item {
    const at = this.#at;
    const inner: Item[] = [];
    let literal = '';
    for (let from = at + 1; ; from += 1) {
      const char = this.#text[from];
      if (char === undefined) throw new Unreadable('a single quote is not closed', at);
      if (char === holeMark) inner.push({ kind: 'hole', where: 'single', at: from, glued: true });
      else if (single.test(char)) {
        if (!single.test(this.#text[from + 1] ?? '')) {
          this.#at = from + 1;
          break;
        }
        from += 1;
        literal += char;
      } else literal += char;
    }
    inner.push({ kind: 'word', text: literal, at, glued: true });
    return { kind: 'string', expands: false, inner, at, glued };
  }

  /** Starts after the opening quote. */
  #doubleQuoted(at: number, glued: boolean): Item {
    const inner: Item[] = [];
    for (;;) {
      const char = this.#char();
      if (char === '') throw new Unreadable('a double quote is not closed', at);
      if (double.test(char)) {
        this.#at += 1;
        if (!double.test(this.#char())) return { kind: 'string', expands: true, inner, at, glued };
        this.#at += 1;
        inner.push({ kind: 'word', text: '"', at: this.#at - 2, glued: true });
      } else this.#quotedPiece(inner, 'double', plainQuoted);
    }
  }

  #quotedPiece(inner: Item[], where: 'double' | 'here', plain: RegExp): void {
    const at = this.#at;
    const char = this.#char();
    if (char === holeMark) {
      this.#at += 1;
      inner.push({ kind: 'hole', where, at, glued: true });
    } else if (char === '`') {
      const next = this.#char(1);
      this.#at += next === '' ? 1 : 2;
      if (next === holeMark) inner.push({ kind: 'hole', where: 'escaped', at: at + 1, glued: true });
      else inner.push({ kind: 'word', text: next, at, glued: true });
    } else if (char === '$') {
      inner.push(this.#dollar(true));
    } else {
      plain.lastIndex = at;
      this.#at = plain.test(this.#text) ? plain.lastIndex : at + 1;
      inner.push({ kind: 'word', text: this.#text.slice(at, this.#at), at, glued: true });
    }
  }

  #hereString(glued: boolean): Item {
    const at = this.#at;
    const expands = double.test(this.#char(1));
    const header = /^@.[ \t]*\r?\n/.exec(this.#text.slice(at, at + 200))?.[0];
    if (header === undefined) throw new Unreadable('a here-string begins on the line of its @', at);
    this.#at += header.length;
    const inner: Item[] = [];
    // Its first line may already be the last.
    this.#at -= 1;
    for (;;) {
      if (this.#char() === '') throw new Unreadable('a here-string is not closed', at);
      const quote = this.#char(1);
      const isEnd = this.#char() === '\n' && (expands ? double : single).test(quote) && this.#char(2) === '@';
      if (isEnd) {
        this.#at += 3;
        return { kind: 'string', expands, inner, at, glued };
      }
      if (expands && this.#char() !== '\n') this.#quotedPiece(inner, 'here', /[^`$\n\uFDD0]+/y);
      else {
        if (this.#char() === holeMark)
          inner.push({ kind: 'hole', where: 'single', at: this.#at, glued: true });
        this.#at += 1;
      }
    }
  }
}

/** Whether a # directly after it begins a comment. */
function endsItem(item: Item | undefined): boolean {
  return item === undefined || item.kind === 'sign' || (item.kind === 'group' && /^@?[({]$/.test(item.open));
}
