import type { Selector } from './selector.ts';

const plain = /^[^\s"'!=(),:\\]+$/u;
const keywords = new Set(['and', 'or', 'not', 'in', 'notin']);

/** Prints a selector as text that `parseSelector` parses to the same selector. */
export function printSelector(selector: Selector): string {
  switch (selector.kind) {
    case 'and':
      return selector.terms.map((term) => inside(term, term.kind === 'and' || term.kind === 'or')).join(' ');
    case 'or':
      return selector.terms.map((term) => inside(term, term.kind === 'or')).join(' or ');
    case 'not':
      return printNot(selector.term);
    case 'label':
      return selector.name;
    case 'value':
      return printValues(selector.name, selector.values, false);
    case 'os':
      return printValues('os', selector.values, false);
    default:
      return `${selector.kind}:${quotedIfNeeded(selector.pattern)}`;
  }
}

function printNot(term: Selector): string {
  if (term.kind === 'value') return printValues(term.name, term.values, true);
  if (term.kind === 'os') return printValues('os', term.values, true);
  return `!${inside(term, term.kind === 'and' || term.kind === 'or')}`;
}

function printValues(name: string, values: readonly string[], negated: boolean): string {
  const [only] = values;
  if (values.length === 1 && only !== undefined) return `${name}${negated ? '!=' : '='}${printValue(only)}`;
  return `${name} ${negated ? 'notin' : 'in'} (${values.map(printValue).join(', ')})`;
}

function printValue(value: string): string {
  return value.includes('*') ? quoted(value) : quotedIfNeeded(value);
}

function quotedIfNeeded(text: string): string {
  return plain.test(text) && !keywords.has(text) ? text : quoted(text);
}

function quoted(text: string): string {
  return `"${text.replaceAll(/["\\]/g, '\\$&')}"`;
}

function inside(term: Selector, parenthesized: boolean): string {
  const text = printSelector(term);
  return parenthesized ? `(${text})` : text;
}
