// Parses a batch script of cmd.exe: lines of commands, with quotes, carets and percent signs as in cmd.exe.
import { holeMark } from '../sh/reading/syntax.ts';

export interface Piece {
  kind: 'text' | 'hole';
  text: string;
  at: number;
  quoted: boolean;
  /** Follows a caret. */
  escaped: boolean;
}
export interface Word {
  pieces: Piece[];
  at: number;
}
export interface Command {
  words: Word[];
  /** What follows `<`, `>` and `>>`. */
  redirects: Word[];
  /** Whether its line contains a pipe, whose sides are parsed by another cmd.exe. */
  piped: boolean;
  at: number;
}
export interface BatchScript {
  commands: Command[];
  /** Whether a block of commands is next to a pipe. Which commands are in the block is not determined. */
  hasPipedBlock: boolean;
  /** Placeholders in comments and after labels. */
  commented: number[];
  /** Each `%NAME%`, in lowercase: inserted into the line before it is parsed. */
  expanded: { name: string; at: number; holes: number[] }[];
  /** `!NAME!` */
  delayed: { name: string; at: number; command: Command }[];
  /** Each `!` that isn't part of a name, and each `^` in quotes that would be lost in the search for `!`. */
  marks: { char: '!' | '^'; at: number }[];
}

/** Parses any text: what cmd.exe would not understand is read as far as it goes. Placeholders are marks (`holeMark`). */
export function readBatch(text: string): BatchScript {
  const script: BatchScript = {
    commands: [],
    hasPipedBlock: false,
    commented: [],
    expanded: [],
    delayed: [],
    marks: [],
  };
  for (const line of linesOf(text)) readLine(text, line.from, line.to, script);
  return script;
}

/** A line ends with a line feed that isn't preceded by a caret. */
function* linesOf(text: string): Generator<{ from: number; to: number }> {
  let from = 0;
  for (let at = text.indexOf('\n'); ; at = text.indexOf('\n', at + 1)) {
    const to = at < 0 ? text.length : at;
    const last = text[to - 1] === '\r' ? to - 2 : to - 1;
    if (at >= 0 && caretsBefore(text, last, from) % 2 === 1) continue;
    yield { from, to };
    if (at < 0) return;
    from = to + 1;
  }
}

function caretsBefore(text: string, last: number, from: number): number {
  let count = 0;
  while (last - count >= from && text[last - count] === '^') count += 1;
  return count;
}

function readLine(text: string, from: number, to: number, script: BatchScript): void {
  const start = /^[\s@]*/.exec(text.slice(from, to))?.[0].length ?? 0;
  const line = text.slice(from, to);
  if (/^[\s@]*(:|rem(?![\w]))/i.test(line)) {
    for (let at = line.indexOf(holeMark); at >= 0; at = line.indexOf(holeMark, at + 1))
      script.commented.push(from + at);
    return;
  }
  expansions(line, from, script);
  new LineReader(text, from + start, to, script).read();
}

/** `%1`, `%*` and `%~dp0` are arguments of the script; anything else between two percent signs counts as a name. */
function expansions(line: string, from: number, script: BatchScript): void {
  for (const found of line.matchAll(/%%|%[\d*]|%~[A-Za-z$:]*\d|%([^%]+)%/g)) {
    if (found[1] === undefined) continue;
    const holes = [...found[0].matchAll(new RegExp(holeMark, 'g'))].map(
      ({ index }) => from + found.index + index,
    );
    script.expanded.push({
      name: found[1].replace(/:.*$/s, '').toLowerCase(),
      at: from + found.index,
      holes,
    });
  }
}

class LineReader {
  readonly #text: string;
  readonly #to: number;
  readonly #script: BatchScript;
  #at: number;
  #quoted = false;
  #command: Command;
  #word: Word | undefined;
  /** The next word is the target of a redirection. */
  #redirects = false;
  readonly #commands: Command[] = [];
  #hasPipe = false;
  #needsDelayed = false;
  readonly #carets: number[] = [];

  constructor(text: string, at: number, to: number, script: BatchScript) {
    this.#text = text;
    this.#at = at;
    this.#to = to;
    this.#script = script;
    this.#command = newCommand(at);
  }

  read(): void {
    for (; this.#at < this.#to; this.#at += 1) {
      const char = this.#text[this.#at] as string;
      if (char === '"') {
        this.#quoted = !this.#quoted;
        this.#add('text', char);
      } else if (char === holeMark) {
        this.#needsDelayed = true;
        this.#add('hole', '');
      } else if (char === '^' && this.#quoted) this.#quotedCaret();
      else if (char === '^' && !this.#quoted) this.#escape();
      else if (char === '!') this.#exclamation();
      else if (this.#quoted || !/[\s&|<>(),;=]/.test(char)) this.#add('text', char);
      else this.#separator(char);
    }
    this.#endCommand();
    if (this.#hasPipe) for (const command of this.#commands) command.piped = true;
    this.#script.commands.push(...this.#commands);
    if (this.#needsDelayed) {
      for (const at of this.#carets) this.#script.marks.push({ char: '^', at });
    }
  }

  #add(kind: Piece['kind'], text: string, escaped = false): void {
    this.#word ??= { pieces: [], at: this.#at };
    const last = this.#word.pieces.at(-1);
    const isMore =
      kind === 'text' && last?.kind === 'text' && last.quoted === this.#quoted && last.escaped === escaped;
    if (isMore) last.text += text;
    else this.#word.pieces.push({ kind, text, at: this.#at, quoted: this.#quoted, escaped });
  }

  #escape(): void {
    this.#at += 1;
    if (this.#text[this.#at] === '\r') this.#at += 1;
    const next = this.#at < this.#to ? (this.#text[this.#at] as string) : '';
    if (next === holeMark) this.#add('hole', '', true);
    else if (next === '^' && this.#text[this.#at + 1] === '!') {
      // `^^!` stands for an exclamation mark.
      this.#at += 1;
      this.#add('text', '!', true);
    } else if (next !== '\n') this.#add('text', next, true);
  }

  /** A line with values is scanned for `!`, which halves carets in quotes. */
  #quotedCaret(): void {
    const next = this.#text[this.#at + 1];
    if (next === '^' || next === '!') {
      this.#at += 1;
      this.#add('text', next);
    } else {
      this.#carets.push(this.#at);
      this.#add('text', '^');
    }
  }

  #exclamation(): void {
    this.#needsDelayed = true;
    const rest = this.#text.slice(this.#at, Math.min(this.#to, this.#at + 300));
    const found = /^!([A-Za-z_][\w.-]*)(:[^!]*)?!/.exec(rest);
    if (found !== null) {
      const name = (found[1] as string).toLowerCase();
      this.#script.delayed.push({ name, at: this.#at, command: this.#command });
      this.#add('text', found[0]);
      this.#at += found[0].length - 1;
    } else {
      this.#script.marks.push({ char: '!', at: this.#at });
      this.#add('text', '!');
    }
  }

  #separator(char: string): void {
    if (char === '=' || char === ',' || char === ';') {
      // Separates words, but is also part of `set NAME=value`.
      this.#add('text', char);
      return;
    }
    // The number of what is redirected: `2>nul`
    const isNumber = /^[<>]$/.test(char) && /^\d$/.test(textOfWord(this.#word ?? { pieces: [], at: 0 }));
    if (isNumber && !this.#redirects) this.#word = undefined;
    this.#endWord();
    if (char === '<' || char === '>') {
      if (this.#text[this.#at + 1] === '>') this.#at += 1;
      if (this.#text[this.#at + 1] === '&') this.#at += 1;
      this.#redirects = true;
    } else if (/[&|()]/.test(char)) {
      const isDouble = this.#text[this.#at + 1] === char && (char === '&' || char === '|');
      if (char === '|' && !isDouble) this.#pipe();
      if (isDouble) this.#at += 1;
      this.#endCommand();
    }
  }

  #endWord(): void {
    if (this.#word === undefined) return;
    if (this.#redirects) this.#command.redirects.push(this.#word);
    else this.#command.words.push(this.#word);
    this.#redirects = false;
    this.#word = undefined;
  }

  /** The pipe of a block may be preceded by many lines of it. */
  #pipe(): void {
    this.#hasPipe = true;
    const [before, after] = [this.#text.slice(0, this.#at), this.#text.slice(this.#at + 1, this.#at + 50)];
    // `) 2>nul | …`
    if (/\)(\s*\d?(>>?|<)\s*(&\d|[^\s|&<>()]{1,100}))*\s*$/.test(before.slice(-300)) || /^\s*\(/.test(after))
      this.#script.hasPipedBlock = true;
  }

  #endCommand(): void {
    this.#endWord();
    const { words, redirects } = this.#command;
    if (words.length + redirects.length > 0) this.#commands.push(this.#command);
    this.#command = newCommand(this.#at + 1);
  }
}

function newCommand(at: number): Command {
  return { words: [], redirects: [], piped: false, at };
}

/** Returns a word's text, without what kind each piece of it is. */
export function textOfWord({ pieces }: Word): string {
  return pieces.map(({ text }) => text).join('');
}
