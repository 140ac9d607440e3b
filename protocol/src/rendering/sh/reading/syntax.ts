// The parts of a shell script that determine what happens to a value: words with their quoting, their commands, and the
// flow of input. Offsets are those in the parsed text, in which each placeholder is one `holeMark`.

/** Stands for a placeholder in the parsed text: a character to which Unicode will never assign a meaning. */
export const holeMark = '\uFDD0';

/** Name of a variable that stands for any, because which one it is depends on the run of the script. */
export const anyVariable = 'OPSCONDUCTOR_ANY_VARIABLE';

export type Quoting = 'bare' | 'double' | 'single' | 'ansi' | 'heredoc' | 'arithmetic' | 'escaped';

export type Segment =
  | { kind: 'text'; text: string; quoting: Quoting; at: number }
  | { kind: 'hole'; quoting: Quoting; at: number }
  | {
      kind: 'parameter';
      /** `x` in `$x` and `${x:-…}`; also `1`, `@`, `*`. */
      name: string;
      /** From after the name to the closing brace; missing for `$x` and `${x}`. */
      operator?: Segment[];
      /** `${#x}`, `${!x}` */
      prefix?: '#' | '!';
      quoting: Quoting;
      at: number;
    }
  | {
      kind: 'command';
      style: 'dollar' | 'backtick' | 'process';
      /** `>(…)`, which reads what the command writes. */
      isOutput?: boolean;
      body: List;
      /** For backticks, whose text is parsed separately: the placeholders in it. */
      holes?: number[];
      quoting: Quoting;
      at: number;
    }
  | { kind: 'arithmetic'; inner: Segment[]; at: number; quoting: Quoting }
  | { kind: 'array'; words: Word[]; at: number; quoting: Quoting }
  /** Something in which no value may stand, by the name used in messages. */
  | {
      kind: 'group';
      what: 'extglob' | 'subscript' | 'old_arithmetic';
      inner: Segment[];
      /** Of a subscript: the word ends before its bracket does. */
      isOpen?: boolean;
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
  /** What is written in front of the operator: a number, `{name}` or nothing. */
  descriptor: string;
  /** The file, the descriptor, or the delimiter of a here-document. */
  word: Word;
  /** For a here-document. */
  body?: { segments: Segment[]; quoted: boolean };
  at: number;
}

export interface Simple {
  kind: 'simple';
  assignments: Word[];
  words: Word[];
  redirects: Redirect[];
  /** What it runs as shell text, if its author wrote that there: `eval '…'`, `sh -c '…'`, `trap '…'`. */
  code?: List;
  /** The same for what it reads: `sh <<'END'`, `echo '…' | sh`. */
  inputCode?: List[];
  at: number;
}
export interface Compound {
  kind: 'compound';
  what: 'group' | 'subshell' | 'if' | 'loop' | 'for' | 'case' | 'arithmetic' | 'test' | 'function';
  /** Lists of commands that run inside it. */
  lists: List[];
  /** For `for`, the variable that is set; for `function`, its name. */
  name?: string;
  /** For `for … in`, the words; for `case`, the subject; for `[[`, its words including operators. */
  words: Word[];
  /** For `case`. */
  patterns: Word[];
  /** For `((` and `for ((`. */
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
  /** Placeholders in comments. */
  commented: number[];
  /** Where and why parsing had to stop. */
  unreadable?: { at: number; why: string };
}

/** Returns the text of a word that consists only of literal text, whatever its quoting; otherwise `undefined`. */
export function literalOf(word: Word | undefined): string | undefined {
  if (word === undefined) return undefined;
  let text = '';
  for (const segment of word.segments) {
    if (segment.kind !== 'text') return undefined;
    text += segment.text;
  }
  return text;
}

/** Returns the literal text with which a word begins. */
export function literalStart(word: Word): string {
  let text = '';
  for (const segment of word.segments) {
    if (segment.kind !== 'text') break;
    text += segment.text;
  }
  return text;
}

/** Returns the text of a word that is one unquoted piece: possibly a reserved word, or an operator of `[[`. */
export function bareText(word: Word | undefined): string | undefined {
  const [only, more] = word?.segments ?? [];
  return only?.kind === 'text' && only.quoting === 'bare' && more === undefined ? only.text : undefined;
}
