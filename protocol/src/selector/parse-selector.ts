// Parses the text of a selector. docs/selectors.md has the grammar.
import { limits } from '../limits.ts';
import { type PatternField, patternFields, type Selector, SelectorError } from './selector.ts';
import { type Token, tokensOf } from './tokens.ts';

const systems = ['linux', 'windows', 'other'];
const labelName = /^[A-Za-z0-9](?:[A-Za-z0-9_./-]*[A-Za-z0-9])?$/;
const maxNameLength = 63;
/** Keywords: no label can have such a name, and such a value must be quoted. */
const keywords = new Set(['and', 'or', 'not', 'in', 'notin']);

/**
 * Parses a selector.
 *
 * @throws {SelectorError} with the column of the error, and what to write instead.
 */
export function parseSelector(text: string): Selector {
  if (text.length > limits.maxSelectorLength) {
    throw new SelectorError(
      limits.maxSelectorLength + 1,
      `A selector has at most ${limits.maxSelectorLength} characters; this one has ${text.length}.`,
      'Put the common part into a target group and select that.',
    );
  }
  const reader = new Reader(tokensOf(text));
  if (reader.next.kind === 'end') {
    throw new SelectorError(1, 'The selector is empty.', 'Write name:* to select every target.');
  }
  const selector = reader.alternatives(1);
  const { next } = reader;
  if (next.text === ')' && next.kind === 'sign') {
    throw new SelectorError(next.column, 'There is no ( for this ).', 'Remove it.');
  }
  if (next.kind !== 'end') throw unexpected(next);
  return selector;
}

class Reader {
  readonly #tokens: readonly Token[];
  #at = 0;
  #terms = 0;

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  get next(): Token {
    return this.#tokens[this.#at] as Token;
  }

  alternatives(depth: number): Selector {
    const terms = [this.#all(depth)];
    while (isWord(this.next, 'or')) {
      this.#take();
      terms.push(this.#all(depth));
    }
    return joined('or', terms);
  }

  #all(depth: number): Selector {
    const terms = [this.#term(depth)];
    for (;;) {
      if (isWord(this.next, 'and')) this.#take();
      else if (this.next.kind === 'end' || isSign(this.next, ')') || isWord(this.next, 'or')) break;
      terms.push(this.#term(depth));
    }
    return joined('and', terms);
  }

  #term(depth: number): Selector {
    const { next } = this;
    if (depth > limits.maxSelectorDepth) {
      throw new SelectorError(
        next.column,
        `Parentheses and ! are nested deeper than ${limits.maxSelectorDepth}.`,
        'Write it with fewer.',
      );
    }
    if (isSign(next, '!') || isWord(next, 'not')) {
      this.#take();
      return { kind: 'not', term: this.#term(depth + 1) };
    }
    if (isSign(next, '(')) {
      this.#take();
      const inner = this.alternatives(depth + 1);
      if (!isSign(this.next, ')')) {
        throw new SelectorError(next.column, 'This ( is not closed.', 'Write ) after the last term.');
      }
      this.#take();
      return inner;
    }
    return this.#test();
  }

  #test(): Selector {
    const name = this.#take();
    if (name.kind !== 'word' || keywords.has(name.text)) throw unexpected(name);
    this.#count(name);
    const { next } = this;
    const field = patternFields.find((one) => one === name.text);
    if (isSign(next, ':')) return this.#pattern(name, field);
    if (field !== undefined) throw needsColon(name, next);
    if (name.text !== 'os') requireLabelName(name);
    if (isSign(next, '=') || isSign(next, '!=')) {
      this.#take();
      const values = [this.#value(name)];
      if (isSign(this.next, ',')) {
        const fix = `Write ${name.text} ${next.text === '=' ? 'in' : 'notin'} (…, …).`;
        throw new SelectorError(this.next.column, `${next.text} takes one value.`, fix);
      }
      return negatedIf(next.text === '!=', testOf(name, values));
    }
    if (isWord(next, 'in') || isWord(next, 'notin')) {
      this.#take();
      return negatedIf(next.text === 'notin', testOf(name, this.#list(name)));
    }
    if (isWord(next, 'not') && isWord(this.#tokens[this.#at + 1], 'in')) {
      throw new SelectorError(next.column, '“not in” is two words.', 'Write notin.');
    }
    if (name.text === 'os') {
      const fix = `Write os= and one of ${systems.join(', ')}.`;
      throw new SelectorError(name.column, 'Every target has an operating system.', fix);
    }
    return { kind: 'label', name: name.text };
  }

  #pattern(name: Token, field: PatternField | undefined): Selector {
    const colon = this.#take();
    if (field === undefined) {
      const known = patternFields.map((one) => `${one}:`).join(', ');
      const fix =
        name.text === 'os'
          ? 'Write os=.'
          : `Write ${name.text}= for a label; with a colon there are ${known}.`;
      throw new SelectorError(colon.column, `There is no ${name.text}: in selectors.`, fix);
    }
    const { next } = this;
    if (next.spaced || (next.kind !== 'word' && next.kind !== 'quoted') || next.text === '') {
      const fix = `Write it right behind, as ${field}:web-* or ${field}:"web 1".`;
      throw new SelectorError(colon.column, `${field}: has no name.`, fix);
    }
    this.#take();
    if (isSign(this.next, ':') && !this.next.spaced) {
      throw new SelectorError(this.next.column, 'A name with a colon must be quoted.', `Write ${field}:"…".`);
    }
    return { kind: field, pattern: next.text, column: name.column };
  }

  #list(name: Token): string[] {
    const open = this.#take();
    if (!isSign(open, '(')) {
      throw new SelectorError(open.column, 'in and notin take a list.', 'Write ( before the first value.');
    }
    const values: string[] = [];
    do {
      values.push(this.#value(name));
      if (values.length > 1) this.#count(name);
    } while (isSign(this.next, ',') && this.#take());
    if (!isSign(this.next, ')')) {
      const { next } = this;
      throw next.kind === 'word' || next.kind === 'quoted'
        ? new SelectorError(next.column, 'Values of a list are separated.', 'Write a comma before this one.')
        : new SelectorError(open.column, 'This list is not closed.', 'Write ) after its last value.');
    }
    this.#take();
    return values;
  }

  #value(name: Token): string {
    const value = this.#take();
    if (value.kind !== 'word' && value.kind !== 'quoted') {
      throw new SelectorError(value.column, `A value of ${name.text} is missing.`, 'Write one here, or "".');
    }
    if (value.kind === 'word' && value.text.includes('*')) {
      const fix = 'Name the values with in (…), or quote a value that has a * in it.';
      throw new SelectorError(value.column, 'Values are compared whole; * is not a pattern here.', fix);
    }
    if (value.kind === 'word' && keywords.has(value.text)) {
      throw new SelectorError(
        value.column,
        `${value.text} is a keyword of selectors.`,
        'Quote it as a value.',
      );
    }
    if (isSign(this.next, ':') && !this.next.spaced) {
      throw new SelectorError(
        this.next.column,
        'A value with a colon must be quoted.',
        'Write "…" around it.',
      );
    }
    if (name.text === 'os' && !systems.includes(value.text)) {
      const fix = `Write one of ${systems.join(', ')}.`;
      throw new SelectorError(value.column, `There is no operating system “${value.text}” here.`, fix);
    }
    return value.text;
  }

  #count(token: Token): void {
    this.#terms += 1;
    if (this.#terms <= limits.maxSelectorTerms) return;
    throw new SelectorError(
      token.column,
      `A selector has at most ${limits.maxSelectorTerms} tests; each value of a list counts.`,
      'Put the common part into a target group and select that.',
    );
  }

  #take(): Token {
    const token = this.next;
    if (token.kind !== 'end') this.#at += 1;
    return token;
  }
}

function testOf(name: Token, values: readonly string[]): Selector {
  return name.text === 'os' ? { kind: 'os', values } : { kind: 'value', name: name.text, values };
}

function negatedIf(negated: boolean, term: Selector): Selector {
  return negated ? { kind: 'not', term } : term;
}

function joined(kind: 'and' | 'or', terms: readonly Selector[]): Selector {
  const [only] = terms;
  if (only !== undefined && terms.length === 1) return only;
  return { kind, terms };
}

function isSign(token: Token | undefined, text: string): boolean {
  return token?.kind === 'sign' && token.text === text;
}

function isWord(token: Token | undefined, text: string): boolean {
  return token?.kind === 'word' && token.text === text;
}

function requireLabelName(name: Token): void {
  if (labelName.test(name.text) && name.text.length <= maxNameLength) return;
  const fix = name.text.includes('*')
    ? `Write name:${name.text} for targets by name.`
    : 'Names of labels have letters, digits, dots, slashes, hyphens and underscores, at most 63.';
  throw new SelectorError(name.column, `“${name.text.slice(0, 70)}” is not the name of a label.`, fix);
}

function needsColon(name: Token, next: Token): SelectorError {
  const problem =
    next.text === '=' || next.text === '!='
      ? `${name.text} is no label.`
      : `${name.text} needs a name or a pattern.`;
  const fix = next.text === '!=' ? `Write !${name.text}:… instead.` : `Write ${name.text}:… instead.`;
  return new SelectorError(name.column, problem, fix);
}

function unexpected(token: Token): SelectorError {
  if (token.kind === 'end') {
    return new SelectorError(
      token.column,
      'A term is missing at the end.',
      'Write one, or remove the last word.',
    );
  }
  const problem = `A term cannot begin with ${token.kind === 'quoted' ? 'a quoted text' : `“${token.text}”`}.`;
  const fix = 'Write label=value, !label, os=…, segment:…, group:…, name:… or host:….';
  return new SelectorError(token.column, problem, fix);
}
