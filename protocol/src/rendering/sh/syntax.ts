// The parts of a shell script that decide what becomes of a value: words with their quoting, the commands they are of, and
// what feeds what. Offsets are those of the text that is read, in which each placeholder is one `holeMark`.

/** Stands for a placeholder in the text that is read: a character that Unicode will never give a meaning to. */
export const holeMark = '\uFDD0';

export type Quoting = 'bare' | 'double' | 'single' | 'ansi' | 'heredoc' | 'arithmetic' | 'escaped';

export type Segment =
  | { kind: 'text'; text: string; quoting: Quoting; at: number }
  | { kind: 'hole'; quoting: Quoting; at: number }
  | {
      kind: 'parameter';
      /** `x` of `$x` and `${x:-…}`; `1`, `@`, `*` too. */
      name: string;
      /** From behind the name to the closing brace; absent for `$x` and `${x}`. */
      operator?: Segment[];
      /** `${#x}`, `${!x}` */
      prefix?: '#' | '!';
      quoting: Quoting;
      at: number;
    }
  | {
      kind: 'command';
      style: 'dollar' | 'backtick' | 'process';
      body: List;
      /** Of backticks, whose text is read by itself: the placeholders in it. */
      holes?: number[];
      quoting: Quoting;
      at: number;
    }
  | { kind: 'arithmetic'; inner: Segment[]; at: number; quoting: Quoting }
  | { kind: 'array'; words: Word[]; at: number; quoting: Quoting }
  /** Something that a value must never stand in, by the name that the messages have for it. */
  | {
      kind: 'group';
      what: 'extglob' | 'subscript' | 'old_arithmetic';
      inner: Segment[];
      at: number;
      quoting: Quoting;
    };

export interface Word {
  segments: Segment[];
  at: number;
  end: number;
}

export interface Redirect {
  operator: string;
  /** The file, the descriptor, or the delimiter of a here-document. */
  word: Word;
  /** Of a here-document. */
  body?: { segments: Segment[]; quoted: boolean };
  at: number;
}

export interface Simple {
  kind: 'simple';
  assignments: Word[];
  words: Word[];
  redirects: Redirect[];
  at: number;
}
export interface Compound {
  kind: 'compound';
  what: 'group' | 'subshell' | 'if' | 'loop' | 'for' | 'case' | 'arithmetic' | 'test' | 'function';
  /** What runs inside it. */
  lists: List[];
  /** `for`: the name that is set; `function`: its name. */
  name?: string;
  /** `for … in`: the words; `case`: the subject; `[[`: its words, operators among them. */
  words: Word[];
  /** Of `case`. */
  patterns: Word[];
  /** Of `((` and `for ((`. */
  arithmetic: Segment[];
  redirects: Redirect[];
  at: number;
}
export type Command = Simple | Compound;
export interface Pipeline {
  commands: Command[];
}
export interface List {
  pipelines: Pipeline[];
}

export interface Script {
  list: List;
  /** Holes in comments. */
  commented: number[];
  /** Where and why reading had to stop. */
  unreadable?: { at: number; why: string };
}

/** The text of a word that is nothing but literal text, whatever its quoting; undefined for any other. */
export function literalOf(word: Word | undefined): string | undefined {
  if (word === undefined) return undefined;
  let text = '';
  for (const segment of word.segments) {
    if (segment.kind !== 'text') return undefined;
    text += segment.text;
  }
  return text;
}

/** The literal text that a word begins with. */
export function literalStart(word: Word): string {
  let text = '';
  for (const segment of word.segments) {
    if (segment.kind !== 'text') break;
    text += segment.text;
  }
  return text;
}

/** The text of a word that is one unquoted piece: what may be a reserved word or an operator of `[[`. */
export function bareText(word: Word | undefined): string | undefined {
  const [only, more] = word?.segments ?? [];
  return only?.kind === 'text' && only.quoting === 'bare' && more === undefined ? only.text : undefined;
}
