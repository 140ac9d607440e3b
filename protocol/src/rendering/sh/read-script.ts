// Parses a script's commands: POSIX, plus bash's additions. It doesn't check correctness, but must never take for text
// what a shell would run. If it can't make sense of something it says so, and no value may then stand in that script.
import { codeIn } from './code-in-arguments.ts';
import { Nesting, openSubscript, type ReadBefore, Unreadable, WordReader } from './read-words.ts';
import {
  bareText,
  type Command,
  type Compound,
  holeMark,
  type List,
  literalOf,
  type Pipeline,
  type Redirect,
  type Script,
  type Segment,
  type Simple,
  type Word,
} from './syntax.ts';

const redirectOperator = /^(?:\d*|\{\w+\})(<<<|<<-|<<|<>|<&|>>|>&|>\||&>>|&>|<|>)/;
const closers = new Set(['then', 'elif', 'else', 'fi', 'do', 'done', 'esac', '}']);

/**
 * Parses a script in which each placeholder is one `holeMark`.
 *
 * @param isBash Whether bash runs it for certain; otherwise any `sh` may.
 */
export function readScript(text: string, isBash: boolean): Script {
  const commented: number[] = [];
  const reader = new ScriptReader(text, 0, text.length, commented, new Nesting(), new Map(), isBash);
  try {
    return { list: reader.whole(), commented };
  } catch (error) {
    if (!(error instanceof Unreadable)) throw error;
    return { list: { pipelines: [] }, commented, unreadable: { at: error.at, why: error.message } };
  }
}

interface PendingHeredoc {
  redirect: Redirect;
  stripsTabs: boolean;
}

class ScriptReader {
  readonly #words: WordReader;
  readonly #text: string;
  readonly #end: number;
  readonly #commented: number[];
  readonly #nesting: Nesting;
  readonly #readBefore: ReadBefore;
  readonly #isBash: boolean;
  readonly #hasOwnArguments: boolean;
  #pending: PendingHeredoc[] = [];

  /** @param readBefore For exactly this text. */
  constructor(
    text: string,
    at: number,
    end: number,
    commented: number[],
    nesting: Nesting,
    readBefore: ReadBefore,
    isBash: boolean,
    hasOwnArguments = false,
  ) {
    this.#isBash = isBash;
    this.#hasOwnArguments = hasOwnArguments;
    this.#text = text;
    this.#end = end;
    this.#commented = commented;
    this.#nesting = nesting;
    this.#readBefore = readBefore;
    this.#words = this.#wordReader(at, end);
  }

  #wordReader(at: number, end: number): WordReader {
    const nesting = this.#nesting;
    const readBefore = this.#readBefore;
    const isBash = this.#isBash;
    const own = this.#hasOwnArguments;
    return new WordReader(this.#text, at, end, {
      nesting,
      readBefore,
      isBash,
      hasOwnArguments: own,
      toParenthesis: (from) =>
        new ScriptReader(
          this.#text,
          from,
          end,
          this.#commented,
          nesting,
          readBefore,
          isBash,
          own,
        ).toParenthesis(),
      whole: (inner, from) => this.#within(inner, from, isBash, own),
    });
  }

  /** Parses a text of its own, whose offsets mean nothing outside. */
  #within(inner: string, from: number, isBash: boolean, hasOwnArguments: boolean): List {
    try {
      const { length } = inner;
      return new ScriptReader(
        inner,
        0,
        length,
        [],
        this.#nesting,
        new Map(),
        isBash,
        hasOwnArguments,
      ).whole();
    } catch (error) {
      if (error instanceof Unreadable) throw new Unreadable(error.message, from, error.final);
      throw error;
    }
  }

  /** What the command runs as shell text. */
  #code(words: readonly Word[], at: number): List | undefined {
    const code = codeIn(words, this.#isBash);
    if (code === undefined) return undefined;
    try {
      return this.#nesting.within(at, () => this.#within(code.text, at, code.isBash, code.hasOwnArguments));
    } catch (error) {
      if (!(error instanceof Unreadable) || error.final) throw error;
      // Without these nothing is expanded or calculated.
      if (code.isWhole && /[$`[(]/.test(code.text))
        throw new Unreadable(`in the text for ${code.name}: ${error.message}`, at);
      return undefined;
    }
  }

  whole(): List {
    const list = this.#list();
    if (this.#words.at < this.#end) throw new Unreadable(`${this.#found()} is unexpected`, this.#words.at);
    this.#takeHeredocs();
    return list;
  }

  toParenthesis(): { list: List; end: number } {
    const list = this.#list();
    if (this.#words.peek() !== ')') throw new Unreadable('a parenthesis is not closed', this.#words.at);
    if (this.#pending.length > 0) throw new Unreadable('a here-document does not begin', this.#words.at);
    return { list, end: this.#words.at };
  }

  #found(): string {
    return JSON.stringify(this.#text.slice(this.#words.at, this.#words.at + 12));
  }

  /** Reads commands up to what closes them, which is not consumed. */
  #list(): List {
    const pipelines: Pipeline[] = [];
    for (;;) {
      this.#blanksAndLines();
      if (this.#words.at >= this.#end || this.#words.peek() === ')' || this.#words.starts(';;')) break;
      if (this.#words.starts(';&')) break;
      if (closers.has(this.#reserved() ?? '')) break;
      pipelines.push(this.#pipeline());
      this.#blanks();
      if (this.#words.starts('&&') || this.#words.starts('||')) this.#words.at += 2;
      else if (this.#words.starts(';;') || this.#words.starts(';&')) break;
      else if (/[;&]/.test(this.#words.peek())) this.#words.at += 1;
      else if (this.#words.peek() !== '\n' && this.#words.at < this.#end && this.#words.peek() !== ')') {
        // `fi`, `done` and `}` may directly follow a compound command.
        if (!closers.has(this.#reserved() ?? ''))
          throw new Unreadable(`${this.#found()} is unexpected`, this.#words.at);
      }
    }
    return { pipelines };
  }

  #pipeline(): Pipeline {
    const commands: Command[] = [];
    for (;;) {
      this.#blanksAndLines();
      if (this.#reserved() === '!') {
        this.#words.at += 1;
        continue;
      }
      const timed = /^time(?=[ \t])(?:[ \t]+-p(?=[ \t]))?(?![ \t]+-)/.exec(
        this.#text.slice(this.#words.at, this.#words.at + 80),
      );
      if (timed !== null) {
        this.#words.at += timed[0].length;
        continue;
      }
      commands.push(this.#command());
      this.#blanks();
      if (this.#words.peek() !== '|' || this.#words.peek(1) === '|') return { commands };
      this.#words.at += this.#words.peek(1) === '&' ? 2 : 1;
    }
  }

  #command(): Command {
    return this.#nesting.within(this.#words.at, () => this.#readCommand());
  }

  #readCommand(): Command {
    const at = this.#words.at;
    if (this.#words.starts('((')) {
      this.#words.at += 2;
      try {
        const arithmetic = this.#words.arithmetic('))');
        return this.#compound({ what: 'arithmetic', arithmetic, at });
      } catch (error) {
        if (!(error instanceof Unreadable) || error.final) throw error;
        this.#words.at = at;
      }
    }
    if (this.#words.peek() === '(') {
      this.#words.at += 1;
      const list = this.#list();
      this.#expect(')');
      return this.#compound({ what: 'subshell', lists: [list], at });
    }
    switch (this.#reserved()) {
      case '{':
        return this.#group(at);
      case 'if':
        return this.#if(at);
      case 'while':
      case 'until':
        return this.#loop(at);
      case 'for':
      case 'select':
        return this.#for(at);
      case 'case':
        return this.#case(at);
      case '[[':
        return this.#test(at);
      case 'function':
        return this.#function(at);
      default:
        return this.#simple(at);
    }
  }

  #group(at: number): Command {
    this.#words.at += 1;
    const list = this.#list();
    this.#expectWord('}');
    return this.#compound({ what: 'group', lists: [list], at });
  }

  #if(at: number): Command {
    const lists: List[] = [];
    this.#expectWord('if');
    for (;;) {
      lists.push(this.#list());
      this.#expectWord('then');
      lists.push(this.#list());
      const next = this.#reserved();
      if (next === 'elif') {
        this.#expectWord('elif');
        continue;
      }
      if (next === 'else') {
        this.#expectWord('else');
        lists.push(this.#list());
      }
      this.#expectWord('fi');
      return this.#compound({ what: 'if', lists, at });
    }
  }

  #loop(at: number): Command {
    this.#words.word();
    const condition = this.#list();
    return this.#compound({ what: 'loop', lists: [condition, this.#doDone()], at });
  }

  #for(at: number): Command {
    this.#words.word();
    this.#blanks();
    if (this.#words.starts('((')) {
      this.#words.at += 2;
      const arithmetic = this.#words.arithmetic('))');
      this.#blanks();
      if (this.#words.peek() === ';') this.#words.at += 1;
      this.#blanksAndLines();
      return this.#compound({ what: 'for', arithmetic, lists: [this.#doDone()], at });
    }
    const variable = this.#words.word();
    const name = literalOf(variable);
    if (variable === undefined || name === undefined || !/^[A-Za-z_]\w*$/.test(name)) {
      throw new Unreadable('the name of a for loop is no name', variable?.at ?? this.#words.at);
    }
    this.#blanksAndLines();
    const words: Word[] = [];
    if (this.#reserved() === 'in') {
      this.#words.word();
      for (this.#blanks(); ; this.#blanks()) {
        const word = this.#words.word();
        if (word === undefined) break;
        words.push(word);
      }
    } else words.push(this.#words.allArguments());
    if (this.#words.peek() === ';') this.#words.at += 1;
    this.#blanksAndLines();
    return this.#compound({ what: 'for', name, words, lists: [this.#doDone()], at });
  }

  #doDone(): List {
    this.#expectWord('do');
    const list = this.#list();
    this.#expectWord('done');
    return list;
  }

  #case(at: number): Command {
    this.#words.word();
    this.#blanks();
    const subject = this.#words.word();
    if (subject === undefined) throw new Unreadable('case has no word', at);
    this.#blanksAndLines();
    this.#expectWord('in');
    const patterns: Word[] = [];
    const lists: List[] = [];
    for (;;) {
      this.#blanksAndLines();
      if (this.#reserved() === 'esac') break;
      if (this.#words.peek() === '(') this.#words.at += 1;
      for (;;) {
        this.#blanks();
        const pattern = this.#words.word();
        if (pattern === undefined) throw new Unreadable('a pattern of case is missing', this.#words.at);
        patterns.push(pattern);
        this.#blanks();
        if (this.#words.peek() !== '|') break;
        this.#words.at += 1;
      }
      this.#expect(')');
      lists.push(this.#list());
      this.#blanksAndLines();
      const end = [';;&', ';;', ';&'].find((each) => this.#words.starts(each));
      if (end === undefined) break;
      this.#words.at += end.length;
    }
    this.#expectWord('esac');
    return this.#compound({ what: 'case', words: [subject], patterns, lists, at });
  }

  /** `[[ … ]]`: words, with operators as separate words. */
  #test(at: number): Command {
    const words: Word[] = [];
    this.#words.word();
    for (;;) {
      this.#blanksAndLines();
      if (this.#words.at >= this.#end) throw new Unreadable('[[ is not closed', at);
      const from = this.#words.at;
      const operator = ['&&', '||', '(', ')', '<', '>'].find((each) => this.#words.starts(each));
      if (operator !== undefined) {
        this.#words.at += operator.length;
        const text = { kind: 'text', text: operator, quoting: 'bare', at: from } as const;
        words.push({ segments: [text], at: from, end: this.#words.at });
        continue;
      }
      const word = bareText(words.at(-1)) === '=~' ? this.#regex() : this.#words.word();
      if (word === undefined) throw new Unreadable(`${this.#found()} is unexpected`, this.#words.at);
      if (bareText(word) === ']]') return this.#compound({ what: 'test', words, at });
      words.push(word);
    }
  }

  /** Parentheses and bars are part of the word. */
  #regex(): Word | undefined {
    const at = this.#words.at;
    const segments: Segment[] = [];
    let depth = 0;
    for (;;) {
      const word = this.#words.word();
      segments.push(...(word?.segments ?? []));
      const char = this.#words.peek();
      if (char === '' || (/[ \t\n]/.test(char) && depth === 0)) break;
      if (char === '(') depth += 1;
      if (char === ')') depth -= 1;
      segments.push({ kind: 'text', text: char, quoting: 'bare', at: this.#words.at });
      this.#words.at += 1;
    }
    return segments.length === 0 ? undefined : { segments, at, end: this.#words.at };
  }

  #function(at: number): Command {
    this.#words.word();
    this.#blanks();
    const name = literalOf(this.#words.word());
    if (name === undefined) throw new Unreadable('a function has no literal name', at);
    this.#blanks();
    if (this.#words.peek() === '(') {
      this.#words.at += 1;
      this.#blanks();
      this.#expect(')');
    }
    return this.#functionBody(name, at);
  }

  #functionBody(name: string, at: number): Command {
    this.#blanksAndLines();
    const body = this.#command();
    if (body.kind === 'simple') throw new Unreadable('the body of a function is not a compound command', at);
    return { ...emptyCompound, what: 'function', name, lists: [{ pipelines: [{ commands: [body] }] }], at };
  }

  #compound(part: Partial<Compound> & Pick<Compound, 'what' | 'at'>): Command {
    const command: Compound = { ...emptyCompound, ...part, redirects: [] };
    for (this.#blanks(); ; this.#blanks()) {
      const redirect = this.#redirect();
      if (redirect === undefined) return command;
      command.redirects.push(redirect);
    }
  }

  #simple(at: number): Command {
    const command: Simple = { kind: 'simple', assignments: [], words: [], redirects: [], at };
    for (;;) {
      this.#blanks();
      const redirect = this.#redirect();
      if (redirect !== undefined) {
        command.redirects.push(redirect);
        continue;
      }
      const word = this.#words.word();
      if (word === undefined) break;
      if (!this.#isBash && command.redirects.some(({ operator }) => operator.startsWith('&>')))
        throw new Unreadable('a word follows &>, where sh begins another command', word.at);
      const [, subscript] = word.segments;
      if (command.words.length === 0 && subscript?.kind === 'group' && subscript.isOpen === true)
        throw new Unreadable(openSubscript, word.at);
      if (command.words.length === 0 && isAssignment(word)) command.assignments.push(word);
      else command.words.push(word);
      const name =
        command.words.length === 1 && command.assignments.length === 0
          ? literalOf(command.words[0])
          : undefined;
      if (name === undefined) continue;
      this.#blanks();
      if (this.#words.peek() !== '(') continue;
      this.#words.at += 1;
      this.#blanks();
      this.#expect(')');
      return this.#functionBody(name, at);
    }
    if (command.words.length + command.assignments.length + command.redirects.length === 0) {
      throw new Unreadable(
        this.#words.at >= this.#end ? 'a command is missing' : `${this.#found()} is unexpected`,
        this.#words.at,
      );
    }
    const code = this.#code(command.words, at);
    if (code !== undefined) command.code = code;
    return command;
  }

  #redirect(): Redirect | undefined {
    const at = this.#words.at;
    if (this.#words.starts('<(') || this.#words.starts('>(')) return undefined;
    const found = redirectOperator.exec(this.#text.slice(at, Math.min(this.#end, at + 80)));
    const operator = found?.[1];
    if (found === null || operator === undefined) return undefined;
    this.#words.at += found[0].length;
    this.#blanks();
    const word = this.#words.word();
    if (word === undefined) throw new Unreadable(`${operator} leads nowhere`, at);
    const descriptor = found[0].slice(0, -operator.length);
    const redirect: Redirect = { operator, descriptor, word, at };
    if (operator === '<<' || operator === '<<-') {
      this.#pending.push({ redirect, stripsTabs: operator === '<<-' });
    }
    return redirect;
  }

  /** At the end of a line: reads the here-documents that its commands asked for. */
  #takeHeredocs(): void {
    const pending = this.#pending.splice(0);
    const [first] = pending;
    if (first === undefined) return;
    const line = this.#text.slice(first.redirect.at, this.#words.at - 1);
    if (line.replaceAll('\\\n', '').includes('\n')) {
      throw new Unreadable('a line ends between a here-document and its text', first.redirect.at);
    }
    for (const { redirect, stripsTabs } of pending) {
      const delimiter = literalOf(redirect.word);
      if (delimiter === undefined)
        throw new Unreadable('a here-document has no plain delimiter', redirect.word.at);
      const quoted = redirect.word.segments.some((segment) => segment.quoting !== 'bare');
      const from = this.#words.at;
      const [end, next] = this.#endOfHeredoc(from, delimiter, stripsTabs, quoted);
      if (quoted) redirect.body = { quoted, segments: plainSegments(this.#text, from, end) };
      else redirect.body = { quoted, segments: this.#wordReader(from, end).expandable() };
      this.#words.at = next;
    }
  }

  #endOfHeredoc(from: number, delimiter: string, stripsTabs: boolean, quoted: boolean): [number, number] {
    // Without quotes, a backslash joins a line to the next one, which shells do before or after they look for the end.
    let before: string | undefined;
    for (let at = from; at < this.#end; ) {
      const newline = this.#text.indexOf('\n', at);
      const end = newline < 0 || newline >= this.#end ? this.#end : newline;
      const line = this.#text.slice(at, end);
      const isEnd = (text: string) => (stripsTabs ? text.replace(/^\t+/, '') : text) === delimiter;
      if (before !== undefined && (isEnd(line) || isEnd(before + line)))
        throw new Unreadable('a backslash stands before the end of a here-document', at - 1);
      if (isEnd(line)) return [at, Math.min(end + 1, this.#end)];
      const isJoined = !quoted && /(?<!\\)(\\\\)*\\$/.test(line);
      // No more is needed than what may be a beginning of the delimiter.
      before = isJoined ? `${before ?? ''}${line.slice(0, -1)}`.slice(0, delimiter.length + 100) : undefined;
      at = end + 1;
    }
    throw new Unreadable(`the here-document is not closed by ${JSON.stringify(delimiter)}`, from);
  }

  #blanks(): void {
    for (;;) {
      if (/[ \t\r]/.test(this.#words.peek())) this.#words.at += 1;
      else if (this.#words.starts('\\\n')) this.#words.at += 2;
      else if (this.#words.peek() === '#') this.#comment();
      else return;
    }
  }

  #comment(): void {
    while (this.#words.at < this.#end && this.#words.peek() !== '\n') {
      if (this.#words.peek() === holeMark) this.#commented.push(this.#words.at);
      this.#words.at += 1;
    }
  }

  #blanksAndLines(): void {
    for (;;) {
      this.#blanks();
      if (this.#words.peek() !== '\n') return;
      this.#words.at += 1;
      this.#takeHeredocs();
    }
  }

  /** Returns the unquoted word at this place, without consuming it. */
  #reserved(): string | undefined {
    const at = this.#words.at;
    const found = /^[A-Za-z_{}![\]]+/.exec(this.#text.slice(at, Math.min(this.#end, at + 12)))?.[0];
    if (found === undefined) return undefined;
    const next = this.#text.slice(at + found.length, Math.min(this.#end, at + found.length + 2));
    return next === '' || /^([\s;&|<>()]|\\\n)/.test(next) ? found : undefined;
  }

  #expect(wanted: string): void {
    if (!this.#words.starts(wanted)) {
      throw new Unreadable(`${JSON.stringify(wanted)} is missing`, this.#words.at);
    }
    this.#words.at += wanted.length;
  }

  #expectWord(wanted: string): void {
    this.#blanksAndLines();
    if (this.#reserved() !== wanted)
      throw new Unreadable(`${JSON.stringify(wanted)} is missing`, this.#words.at);
    this.#words.at += wanted.length;
  }
}

const emptyCompound: Omit<Compound, 'what' | 'at'> = {
  kind: 'compound',
  lists: [],
  words: [],
  patterns: [],
  arithmetic: [],
  redirects: [],
};

/** `NAME=…`, `NAME+=…`, `NAME[…]=…` */
function isAssignment(word: Word): boolean {
  const [first, second, third] = word.segments;
  if (first?.kind !== 'text' || first.quoting !== 'bare') return false;
  if (/^[A-Za-z_]\w*\+?=/.test(first.text)) return true;
  const isSubscript = second?.kind === 'group' && second.what === 'subscript';
  return isSubscript && third?.kind === 'text' && /^\+?=/.test(third.text);
}

function plainSegments(text: string, from: number, end: number): Segment[] {
  const segments: Segment[] = [];
  for (let at = text.indexOf(holeMark, from); at >= 0 && at < end; at = text.indexOf(holeMark, at + 1)) {
    segments.push({ kind: 'hole', quoting: 'single', at });
  }
  return segments;
}
