// Splits a text with placeholders into parts. `$${{` stands for the text `${{`.
import { parseReference, type Reference } from './reference.ts';

export interface Literal {
  kind: 'literal';
  text: string;
  /** Where it begins in the template. */
  at: number;
}
export interface Placeholder {
  kind: 'placeholder';
  reference: Reference;
  /** As the author wrote it. */
  text: string;
  at: number;
}
export type TemplatePart = Literal | Placeholder;

/** A problem at a place of a template. */
export interface TemplateProblem {
  at: number;
  /** A sentence without its period. */
  message: string;
  /** How to write it instead. */
  fix: string;
}
export interface Template {
  text: string;
  parts: TemplatePart[];
  problems: TemplateProblem[];
}

/** After this many mistakes, the rest of a text is not parsed: each means looking at what follows. */
const maxProblems = 50;

/** Splits a text. `problems` reports what looks like a placeholder but isn't one. */
export function parseTemplate(text: string): Template {
  const parts: TemplatePart[] = [];
  const problems: TemplateProblem[] = [];
  let from = 0;
  const literal = (end: number, extra = '') => {
    if (end > from || extra !== '')
      parts.push({ kind: 'literal', text: text.slice(from, end) + extra, at: from });
  };
  for (
    let at = text.indexOf('${{');
    at >= 0 && problems.length < maxProblems;
    at = text.indexOf('${{', from)
  ) {
    if (at > from && text[at - 1] === '$') {
      literal(at - 1, '${{');
      from = at + 3;
      continue;
    }
    literal(at);
    const parsed = parseReference(text, at + 3);
    if ('problem' in parsed) {
      problems.push({ at: parsed.at, message: parsed.problem, fix: parsed.fix });
      from = at + 3;
      continue;
    }
    const { reference, end } = parsed;
    parts.push({ kind: 'placeholder', reference, text: text.slice(at, end), at });
    from = end;
  }
  literal(text.length);
  return { text, parts, problems };
}

/** Returns the placeholders of a text, in order. */
export function placeholdersOf(template: Template): Placeholder[] {
  return template.parts.filter((part) => part.kind === 'placeholder');
}

/** Describes an offset as `Line 3, column 14`; columns count characters. */
export function placeIn(text: string, at: number): string {
  const before = text.slice(0, at);
  const lineStart = before.lastIndexOf('\n') + 1;
  return `Line ${before.split('\n').length}, column ${[...before.slice(lineStart)].length + 1}`;
}

/** Returns the line around an offset, shortened. */
export function excerptAt(text: string, at: number): string {
  const lineStart = text.lastIndexOf('\n', at - 1) + 1;
  const lineEnd = text.indexOf('\n', at);
  const line = text.slice(lineStart, lineEnd < 0 ? text.length : lineEnd);
  const from = Math.max(0, at - lineStart - 30);
  const part = line.slice(from, from + 90);
  return `${from > 0 ? '…' : ''}${part}${from + 90 < line.length ? '…' : ''}`.trim();
}
