// Parses a script's commands: POSIX, plus bash's additions. It doesn't check correctness, but must never take for text
// what a shell would run. If it can't make sense of something it says so, and no value may then stand in that script.
import { type CodeInArguments, codeIn } from '../commands/code-in-arguments.ts';
import { readDoubleBrackets } from './double-brackets.ts';
import { Nesting, Unreadable } from './nesting.ts';
import { readInputs } from './read-inputs.ts';
import {
  type Command,
  type Compound,
  type List,
  literalOf,
  type Pipeline,
  type Script,
  type Simple,
  type Word,
} from './syntax.ts';
import { Tokens } from './tokens.ts';
import { openSubscript, type ReadBefore } from './word-reader.ts';

const namesShell = /\b(sh|bash|dash|ash|ksh|mksh|zsh)\b/;
const closers = new Set(['then', 'elif', 'else', 'fi', 'do', 'done', 'esac', '}']);

/**
 * Parses a script in which each placeholder is one `holeMark`.
 *
 * @param isBash Whether bash runs it for certain; otherwise any `sh` may.
 */
export function readScript(text: string, isBash: boolean): Script {
  const commented: number[] = [];
  const nesting = new Nesting(text.length);
  const shared = { text, commented, nesting, readBefore: new Map(), isBash, hasOwnArguments: false };
  try {
    const reader = new ScriptReader(shared);
    const list = reader.whole();
    readInputs(list, { isBash, nesting, readCode: (code, at) => reader.code(code, at) });
    return { list, commented };
  } catch (error) {
    if (!(error instanceof Unreadable)) throw error;
    return { list: { pipelines: [] }, commented, unreadable: { at: error.at, why: error.message } };
  }
}

/** What the readers of one text share. */
interface Shared {
  text: string;
  /** Takes the places of placeholders in comments. */
  commented: number[];
  nesting: Nesting;
  readBefore: ReadBefore;
  isBash: boolean;
  hasOwnArguments: boolean;
}

class ScriptReader {
  readonly #shared: Shared;
  readonly #tokens: Tokens;

  constructor(shared: Shared, at = 0, end = shared.text.length) {
    this.#shared = shared;
    const { text, commented, nesting, readBefore, isBash, hasOwnArguments } = shared;
    this.#tokens = new Tokens(text, at, end, commented, {
      nesting,
      readBefore,
      isBash,
      hasOwnArguments,
      toParenthesis: (from, until) => new ScriptReader(shared, from, until).toParenthesis(),
      whole: (inner, from) => this.#within(inner, from, isBash, hasOwnArguments),
    });
  }

  /** Parses a text of its own, whose offsets mean nothing outside. */
  #within(text: string, from: number, isBash: boolean, hasOwnArguments: boolean): List {
    const { nesting } = this.#shared;
    const shared = { text, commented: [], nesting, readBefore: new Map(), isBash, hasOwnArguments };
    try {
      return new ScriptReader(shared).whole();
    } catch (error) {
      if (error instanceof Unreadable) throw new Unreadable(error.message, from, error.final);
      throw error;
    }
  }

  /** What the command runs as shell text. */
  code(code: CodeInArguments | undefined, at: number): List | undefined {
    if (code === undefined) return undefined;
    if (code.isAnsi) throw new Unreadable(`the text for ${code.name} is in $'…'`, at);
    try {
      return this.#shared.nesting.within(at, () =>
        this.#within(code.text, at, code.isBash, code.hasOwnArguments),
      );
    } catch (error) {
      if (!(error instanceof Unreadable) || error.final) throw error;
      // Without these nothing is expanded or calculated.
      if (/[$`]/.test(code.text) || (code.isWhole && /[[(]/.test(code.text)))
        throw new Unreadable(`in the text for ${code.name}: ${error.message}`, at);
      return undefined;
    }
  }

  whole(): List {
    const list = this.#list();
    if (this.#tokens.at < this.#tokens.end)
      throw new Unreadable(`${this.#tokens.found()} is unexpected`, this.#tokens.at);
    this.#tokens.documents.read(this.#tokens);
    return list;
  }

  toParenthesis(): { list: List; end: number } {
    const list = this.#list();
    if (this.#tokens.peek() !== ')') throw new Unreadable('a parenthesis is not closed', this.#tokens.at);
    if (this.#tokens.documents.areDue)
      throw new Unreadable('a here-document does not begin', this.#tokens.at);
    return { list, end: this.#tokens.at };
  }

  /** Reads commands up to what closes them, which is not consumed. */
  #list(): List {
    const pipelines: Pipeline[] = [];
    for (;;) {
      this.#tokens.blanksAndLines();
      if (this.#tokens.at >= this.#tokens.end || this.#tokens.peek() === ')' || this.#tokens.starts(';;'))
        break;
      if (this.#tokens.starts(';&')) break;
      if (closers.has(this.#tokens.reserved() ?? '')) break;
      pipelines.push(this.#pipeline());
      this.#tokens.blanks();
      if (this.#tokens.starts('&&') || this.#tokens.starts('||')) this.#tokens.at += 2;
      else if (this.#tokens.starts(';;') || this.#tokens.starts(';&')) break;
      else if (/[;&]/.test(this.#tokens.peek())) this.#tokens.at += 1;
      else if (
        this.#tokens.peek() !== '\n' &&
        this.#tokens.at < this.#tokens.end &&
        this.#tokens.peek() !== ')'
      ) {
        // `fi`, `done` and `}` may directly follow a compound command.
        if (!closers.has(this.#tokens.reserved() ?? ''))
          throw new Unreadable(`${this.#tokens.found()} is unexpected`, this.#tokens.at);
      }
    }
    return { pipelines };
  }

  #pipeline(): Pipeline {
    const commands: Command[] = [];
    for (;;) {
      this.#tokens.blanksAndLines();
      if (this.#tokens.reserved() === '!') {
        this.#tokens.at += 1;
        continue;
      }
      const timed = /^time(?=[ \t])(?:[ \t]+-p(?=[ \t]))?(?![ \t]+-)/.exec(
        this.#tokens.text.slice(this.#tokens.at, this.#tokens.at + 80),
      );
      if (timed !== null) {
        this.#tokens.at += timed[0].length;
        continue;
      }
      commands.push(this.#command());
      this.#tokens.blanks();
      if (this.#tokens.peek() !== '|' || this.#tokens.peek(1) === '|') return { commands };
      this.#tokens.at += this.#tokens.peek(1) === '&' ? 2 : 1;
    }
  }

  #command(): Command {
    return this.#shared.nesting.within(this.#tokens.at, () => this.#readCommand());
  }

  #readCommand(): Command {
    const at = this.#tokens.at;
    if (this.#tokens.starts('((')) {
      this.#tokens.at += 2;
      try {
        const arithmetic = this.#tokens.arithmetic('))');
        this.#refuseCommands(at);
        return this.#compound({ what: 'arithmetic', arithmetic, at });
      } catch (error) {
        if (!(error instanceof Unreadable) || error.final || this.#tokens.isArithmetic(at + 2)) throw error;
        this.#tokens.at = at;
      }
    }
    if (this.#tokens.peek() === '(') {
      this.#tokens.at += 1;
      const list = this.#list();
      this.#tokens.expect(')');
      return this.#compound({ what: 'subshell', lists: [list], at });
    }
    switch (this.#tokens.reserved()) {
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
        return this.#compound({
          what: 'test',
          words: readDoubleBrackets(this.#tokens, this.#shared.isBash),
          at,
        });
      case 'function':
        return this.#function(at);
      default:
        return this.#simple(at);
    }
  }

  /** A shell without `((` runs what stands in it, in two subshells. */
  #refuseCommands(at: number): void {
    const text = this.#tokens.text.slice(at + 2, this.#tokens.at - 2);
    if (!this.#shared.isBash && (/[;\n`]|(^|\s)#|\w[ \t]+["'$\w]/.test(text) || namesShell.test(text)))
      throw new Unreadable('commands stand in ((…)), which sh runs', at, true);
  }

  #group(at: number): Command {
    this.#tokens.at += 1;
    const list = this.#list();
    this.#tokens.expectWord('}');
    return this.#compound({ what: 'group', lists: [list], at });
  }

  #if(at: number): Command {
    const lists: List[] = [];
    this.#tokens.expectWord('if');
    for (;;) {
      lists.push(this.#list());
      this.#tokens.expectWord('then');
      lists.push(this.#list());
      const next = this.#tokens.reserved();
      if (next === 'elif') {
        this.#tokens.expectWord('elif');
        continue;
      }
      if (next === 'else') {
        this.#tokens.expectWord('else');
        lists.push(this.#list());
      }
      this.#tokens.expectWord('fi');
      return this.#compound({ what: 'if', lists, at });
    }
  }

  #loop(at: number): Command {
    this.#tokens.word();
    const condition = this.#list();
    return this.#compound({ what: 'loop', lists: [condition, this.#doDone()], at });
  }

  #for(at: number): Command {
    this.#tokens.word();
    this.#tokens.blanks();
    if (this.#tokens.starts('((')) {
      this.#tokens.at += 2;
      const arithmetic = this.#tokens.arithmetic('))');
      this.#tokens.blanks();
      if (this.#tokens.peek() === ';') this.#tokens.at += 1;
      this.#tokens.blanksAndLines();
      return this.#compound({ what: 'for', arithmetic, lists: [this.#doDone()], at });
    }
    const variable = this.#tokens.word();
    const name = literalOf(variable);
    if (variable === undefined || name === undefined || !/^[A-Za-z_]\w*$/.test(name)) {
      throw new Unreadable('the name of a for loop is no name', variable?.at ?? this.#tokens.at);
    }
    this.#tokens.blanksAndLines();
    const words: Word[] = [];
    if (this.#tokens.reserved() === 'in') {
      this.#tokens.word();
      for (this.#tokens.blanks(); ; this.#tokens.blanks()) {
        const word = this.#tokens.word();
        if (word === undefined) break;
        words.push(word);
      }
    } else words.push(this.#tokens.allArguments());
    if (this.#tokens.peek() === ';') this.#tokens.at += 1;
    this.#tokens.blanksAndLines();
    return this.#compound({ what: 'for', name, words, lists: [this.#doDone()], at });
  }

  #doDone(): List {
    this.#tokens.expectWord('do');
    const list = this.#list();
    this.#tokens.expectWord('done');
    return list;
  }

  #case(at: number): Command {
    this.#tokens.word();
    this.#tokens.blanks();
    const subject = this.#tokens.word();
    if (subject === undefined) throw new Unreadable('case has no word', at);
    this.#tokens.blanksAndLines();
    this.#tokens.expectWord('in');
    const patterns: Word[] = [];
    const lists: List[] = [];
    for (;;) {
      this.#tokens.blanksAndLines();
      if (this.#tokens.reserved() === 'esac') break;
      if (this.#tokens.peek() === '(') this.#tokens.at += 1;
      for (;;) {
        this.#tokens.blanks();
        const pattern = this.#tokens.word();
        if (pattern === undefined) throw new Unreadable('a pattern of case is missing', this.#tokens.at);
        patterns.push(pattern);
        this.#tokens.blanks();
        if (this.#tokens.peek() !== '|') break;
        this.#tokens.at += 1;
      }
      this.#tokens.expect(')');
      lists.push(this.#list());
      this.#tokens.blanksAndLines();
      const end = [';;&', ';;', ';&'].find((each) => this.#tokens.starts(each));
      if (end === undefined) break;
      this.#tokens.at += end.length;
    }
    this.#tokens.expectWord('esac');
    return this.#compound({ what: 'case', words: [subject], patterns, lists, at });
  }

  #function(at: number): Command {
    this.#tokens.word();
    this.#tokens.blanks();
    const name = literalOf(this.#tokens.word());
    if (name === undefined) throw new Unreadable('a function has no literal name', at);
    this.#tokens.blanks();
    if (this.#tokens.peek() === '(') {
      this.#tokens.at += 1;
      this.#tokens.blanks();
      this.#tokens.expect(')');
    }
    return this.#functionBody(name, at);
  }

  #functionBody(name: string, at: number): Command {
    this.#tokens.blanksAndLines();
    const body = this.#command();
    if (body.kind === 'simple') throw new Unreadable('the body of a function is not a compound command', at);
    return { ...emptyCompound, what: 'function', name, lists: [{ pipelines: [{ commands: [body] }] }], at };
  }

  #compound(part: Partial<Compound> & Pick<Compound, 'what' | 'at'>): Command {
    const command: Compound = { ...emptyCompound, ...part, redirects: [] };
    for (this.#tokens.blanks(); ; this.#tokens.blanks()) {
      const redirect = this.#tokens.redirect();
      if (redirect === undefined) return command;
      command.redirects.push(redirect);
    }
  }

  #simple(at: number): Command {
    const command: Simple = { kind: 'simple', assignments: [], words: [], redirects: [], at };
    for (;;) {
      this.#tokens.blanks();
      const redirect = this.#tokens.redirect();
      if (redirect !== undefined) {
        command.redirects.push(redirect);
        continue;
      }
      const word = this.#tokens.word();
      if (word === undefined) break;
      if (!this.#shared.isBash && command.redirects.some(({ operator }) => operator.startsWith('&>')))
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
      this.#tokens.blanks();
      if (this.#tokens.peek() !== '(') continue;
      this.#tokens.at += 1;
      this.#tokens.blanks();
      this.#tokens.expect(')');
      return this.#functionBody(name, at);
    }
    if (command.words.length + command.assignments.length + command.redirects.length === 0) {
      throw new Unreadable(
        this.#tokens.at >= this.#tokens.end
          ? 'a command is missing'
          : `${this.#tokens.found()} is unexpected`,
        this.#tokens.at,
      );
    }
    const code = this.code(codeIn(command.words, this.#shared.isBash), at);
    if (code !== undefined) command.code = code;
    return command;
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
