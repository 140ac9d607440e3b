// Decides for each placeholder in a word of a shell script whether its value may stand there, however the word is used.

import { namesThatRun } from './commands/special-names.ts';
import type { Holders } from './holders.ts';
import { type List, literalStart, type Segment, type Word } from './reading/syntax.ts';
import type { ShellVerdicts } from './shell-verdicts.ts';
import { inSegments, isIndirect, namesIn, namesInSubscripts, type Source } from './sources.ts';
import { WrittenText } from './written-text.ts';

export interface WordOptions {
  mayBeOption: boolean;
  isPath?: boolean;
  /** The value of an assignment, or another place where the shell doesn't split words. */
  unsplit?: boolean;
  /** A word of `for x in …`, of which a loop may use one piece after the other. */
  isLooped?: boolean;
  /** `NAME=…` or `NAME[…]=…`, whose brackets are no pattern. */
  isAssignment?: boolean;
}

export class WordChecks {
  readonly #verdicts: ShellVerdicts;
  readonly #holders: Holders;
  readonly #list: (list: List) => void;

  /** @param list Analyzes the commands of a substitution. */
  constructor(verdicts: ShellVerdicts, holders: Holders, list: (list: List) => void) {
    this.#verdicts = verdicts;
    this.#holders = holders;
    this.#list = list;
  }

  /** A word of a command, a pattern, or the value of an assignment. */
  word(word: Word, options: WordOptions): void {
    // `exec {fds[i]}>file`
    if (/^\{[A-Za-z_]\w*\[/.test(literalStart(word)))
      this.#verdicts.refuseAll(namesInSubscripts(word.segments, this.#holders.holds), 'subscript');
    const written = new WrittenText();
    let isLiteral = true;
    const isPattern = word.segments.some(
      (segment) =>
        (segment.kind === 'group' && !(options.isAssignment === true && segment.what === 'subscript')) ||
        (segment.kind === 'text' && segment.quoting === 'bare' && /[*?[\]{}]/.test(segment.text)),
    );
    for (const segment of word.segments) {
      if (segment.kind === 'hole') {
        if (written.isBehindTilde) this.#verdicts.refuse(segment, 'tilde');
        else if (written.endsWithDollar) this.#verdicts.refuse(segment, 'dollar');
        else if (segment.quoting === 'bare' && isPattern) this.#verdicts.refuse(segment, 'glob');
        else if (
          options.mayBeOption &&
          isLiteral &&
          written.beginsOption &&
          !this.#verdicts.isNumber(segment.at)
        ) {
          this.#verdicts.refuse(segment, 'option_name');
        } else {
          // No literal text is certain to precede it in its word, or in the value of its assignment.
          const isFirst = written.isEmpty || (options.unsplit === true && written.isNameAndEquals);
          this.#hole(segment, { ...options, mayBeOption: options.mayBeOption && isFirst });
        }
      } else this.segment(segment, options);
      if (segment.kind === 'text') written.add(segment.text);
      else isLiteral = false;
    }
  }

  #hole(hole: Segment & { kind: 'hole' }, { mayBeOption, isPath = false }: WordOptions): void {
    const { quoting } = hole;
    if (quoting === 'bare' || quoting === 'double') {
      this.#verdicts.accept(hole.at, { as: quoting === 'bare' ? 'word' : 'quoted', mayBeOption, isPath });
    } else if (quoting === 'single' || quoting === 'ansi' || quoting === 'escaped')
      this.#verdicts.refuse(hole, quoting);
    else this.#verdicts.refuse(hole, 'elsewhere');
  }

  /** Any part of a word other than a placeholder. */
  segment(segment: Segment, options: WordOptions): void {
    if (segment.kind === 'parameter') this.#parameter(segment, options);
    else if (segment.kind === 'command') this.#substitution(segment, options);
    else if (segment.kind === 'arithmetic') this.arithmetic(segment.inner);
    else if (segment.kind === 'array') {
      for (const { segments } of segment.words)
        this.#verdicts.refuseAll(namesInSubscripts(segments, this.#holders.holds), 'subscript');
      for (const word of segment.words) this.word(word, { ...options, mayBeOption: true, unsplit: false });
    } else if (segment.kind === 'group') {
      const reason = segment.what === 'extglob' ? 'glob' : segment.what;
      this.#verdicts.refuseAll(inSegments(segment.inner, this.#holders.holds), reason);
      if (segment.what !== 'extglob')
        this.#verdicts.refuseAll(namesIn(segment.inner, this.#holders.holds), reason);
      for (const inner of segment.inner) {
        if (inner.kind !== 'hole') this.segment(inner, { ...options, unsplit: true });
      }
    }
  }

  #parameter(segment: Segment & { kind: 'parameter' }, { unsplit = false }: WordOptions): void {
    const { holds } = this.#holders;
    const { name, operator = [], prefix, quoting, at } = segment;
    for (const source of inSegments(operator, holds)) {
      if (source.kind === 'hole') this.#verdicts.refuse(source, 'brace');
    }
    const [first] = operator;
    const text = first?.kind === 'text' ? first.text : '';
    if (/^(\[|:(?![-=+?])|@)/.test(text) || text === '')
      this.#verdicts.refuseAll(inSegments(operator, holds), 'operator');
    if (/^(\[|:(?![-=+?]))/.test(text))
      this.#verdicts.refuseAll(namesIn(operator, this.#holders.holds), 'operator');
    // `${y:-$x}` is split where `$y` would be.
    const isWhole = unsplit || quoting !== 'bare';
    for (const inner of operator)
      if (inner.kind !== 'hole') this.segment(inner, { mayBeOption: false, unsplit: isWhole });
    const holder = this.#holders.get(name);
    if (isIndirect(segment) && holder === undefined && !isWhole)
      this.#verdicts.refuseAll(inSegments([segment], holds), 'unquoted');
    if (holder === undefined) return;
    const variable: Source = { kind: 'variable', name, at };
    if (/^:?=/.test(text) && namesThatRun.has(name)) this.#verdicts.refuse(variable, 'special_name');
    if (isIndirect(segment)) this.#verdicts.refuse(variable, 'indirect');
    else if (/^@[A-Za-z]/.test(text)) this.#verdicts.refuse(variable, 'operator');
    else if (
      !isWhole &&
      prefix === undefined &&
      // A folder that exists.
      !/^(OLD)?PWD$/.test(name)
    ) {
      this.#verdicts.refuse(variable, 'unquoted');
    }
  }

  #substitution(segment: Segment & { kind: 'command' }, { unsplit, isLooped }: WordOptions): void {
    const { body, holes, quoting, style } = segment;
    for (const at of holes ?? []) this.#verdicts.refuse({ kind: 'hole', at }, 'backtick');
    if (quoting === 'bare' && unsplit !== true && isLooped !== true && style !== 'process') {
      for (const source of inSegments([segment], this.#holders.holds))
        if (source.kind === 'variable' || !this.#verdicts.isNumber(source.at))
          this.#verdicts.refuse(source, 'unquoted_output');
    }
    if (holes === undefined) this.#list(body);
    else this.#verdicts.within(segment.at, () => this.#list(body));
  }

  /** What stands in `$((…))`, or in a command that is arithmetic. */
  arithmetic(segments: readonly Segment[]): void {
    segments.forEach((segment, index) => {
      if (segment.kind === 'hole') {
        const touches = (neighbor: Segment | undefined, pattern: RegExp) =>
          neighbor !== undefined && (neighbor.kind !== 'text' || pattern.test(neighbor.text));
        if (!this.#verdicts.isNumber(segment.at)) this.#verdicts.refuse(segment, 'arithmetic');
        else if (
          touches(segments[index - 1], /[\w$#@.[\\]$/) ||
          touches(segments[index + 1], /^[\w$#@.[\\(]/)
        ) {
          this.#verdicts.refuse(segment, 'arithmetic_neighbor');
        } else this.#verdicts.accept(segment.at, { as: 'number', mayBeOption: false, isPath: false });
        return;
      }
      this.#verdicts.refuseAll(namesIn([segment], this.#holders.holds), 'arithmetic');
      if (segment.kind !== 'text') this.#refuseVariables(segment);
      this.segment(segment, { mayBeOption: false, unsplit: true });
    });
  }

  #refuseVariables(segment: Segment): void {
    for (const source of inSegments([segment], this.#holders.holds)) {
      if (source.kind === 'variable') this.#verdicts.refuse(source, 'arithmetic');
      else if (!this.#verdicts.isNumber(source.at)) this.#verdicts.refuse(source, 'arithmetic');
    }
  }
}
