// Reads what commands are made of, without knowing commands: words, reserved words, redirections, and what stands between
// them: blanks, comments, ends of lines with their here-documents.
import { HereDocuments } from './here-documents.ts';
import { Unreadable } from './nesting.ts';
import { holeMark, type Redirect } from './syntax.ts';
import { type CommandsWithin, WordReader } from './word-reader.ts';

const redirectOperator = /^(?:\d*|\{\w+\})(<<<|<<-|<<|<>|<&|>>|>&|>\||&>>|&>|<|>)/;

export class Tokens extends WordReader {
  readonly documents = new HereDocuments();
  readonly #commented: number[];

  /** @param commented Takes the places of placeholders in comments. */
  constructor(text: string, at: number, end: number, commented: number[], commands: CommandsWithin) {
    super(text, at, end, commands);
    this.#commented = commented;
  }

  redirect(): Redirect | undefined {
    const at = this.at;
    if (this.starts('<(') || this.starts('>(')) return undefined;
    const found = redirectOperator.exec(this.text.slice(at, Math.min(this.end, at + 80)));
    const operator = found?.[1];
    if (found === null || operator === undefined) return undefined;
    this.at += found[0].length;
    this.blanks();
    const word = this.word();
    if (word === undefined) throw new Unreadable(`${operator} leads nowhere`, at);
    const descriptor = found[0].slice(0, -operator.length);
    const redirect: Redirect = { operator, descriptor, word, at };
    if (operator === '<<' || operator === '<<-') {
      this.documents.ask(redirect);
    }
    return redirect;
  }

  blanks(): void {
    for (;;) {
      if (/[ \t\r]/.test(this.peek())) this.at += 1;
      else if (this.starts('\\\n')) this.at += 2;
      else if (this.peek() === '#') this.#comment();
      else return;
    }
  }

  #comment(): void {
    while (this.at < this.end && this.peek() !== '\n') {
      if (this.peek() === holeMark) this.#commented.push(this.at);
      this.at += 1;
    }
  }

  blanksAndLines(): void {
    for (;;) {
      this.blanks();
      if (this.peek() !== '\n') return;
      this.at += 1;
      this.documents.read(this);
    }
  }

  /** Returns the unquoted word at this place, without consuming it. */
  reserved(): string | undefined {
    const at = this.at;
    const found = /^[A-Za-z_{}![\]]+/.exec(this.text.slice(at, Math.min(this.end, at + 12)))?.[0];
    if (found === undefined) return undefined;
    const next = this.text.slice(at + found.length, Math.min(this.end, at + found.length + 2));
    return next === '' || /^([\s;&|<>()]|\\\n)/.test(next) ? found : undefined;
  }

  expect(wanted: string): void {
    if (!this.starts(wanted)) {
      throw new Unreadable(`${JSON.stringify(wanted)} is missing`, this.at);
    }
    this.at += wanted.length;
  }

  expectWord(wanted: string): void {
    this.blanksAndLines();
    if (this.reserved() !== wanted) throw new Unreadable(`${JSON.stringify(wanted)} is missing`, this.at);
    this.at += wanted.length;
  }

  /** What stands here, for a message. */
  found(): string {
    return JSON.stringify(this.text.slice(this.at, this.at + 12));
  }
}
