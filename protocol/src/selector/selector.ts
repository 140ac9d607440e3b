// A selector as data: the conditions that a target must meet. `parse-selector.ts` parses its text and
// `print-selector.ts` prints it. The server turns it into SQL; `matches-selector.ts` evaluates it for one target in
// memory.

/** Whole names, or patterns with `*`. Matching ignores case for `host`, but not for the others. */
export type PatternField = 'segment' | 'group' | 'name' | 'host';
export const patternFields: readonly PatternField[] = ['segment', 'group', 'name', 'host'];

export type Selector =
  | { kind: 'and' | 'or'; terms: readonly Selector[] }
  | { kind: 'not'; term: Selector }
  /** Has the label. */
  | { kind: 'label'; name: string }
  /** Has the label with one of these values. */
  | { kind: 'value'; name: string; values: readonly string[] }
  | { kind: 'os'; values: readonly string[] }
  /** `column`: its place in the text, if it was parsed. */
  | { kind: PatternField; pattern: string; column?: number };

/** The properties of a target that a selector can test. */
export interface SelectableTarget {
  name: string;
  host: string;
  segment: string;
  groups: readonly string[];
  operatingSystem: string;
  labels: Readonly<Record<string, string>>;
}

/** Why a text is not a selector, and what to write instead. */
export class SelectorError extends Error {
  override readonly name = 'SelectorError';
  /** From 1, in characters. */
  readonly column: number;
  readonly fix: string;

  constructor(column: number, problem: string, fix: string) {
    super(`Column ${column}: ${problem} ${fix}`);
    this.column = column;
    this.fix = fix;
  }
}

export interface NamedPattern {
  pattern: string;
  /** From 1; 1 if the selector was not parsed. */
  column: number;
}

/** Returns every name or pattern that the selector compares with this field, in text order. */
export function patternsOf(selector: Selector, field: PatternField): NamedPattern[] {
  return leavesOf(selector).flatMap((leaf) =>
    leaf.kind === field && 'pattern' in leaf ? [{ pattern: leaf.pattern, column: leaf.column ?? 1 }] : [],
  );
}

/** Returns the names of all labels that it refers to. */
export function labelNamesOf(selector: Selector): string[] {
  const names = leavesOf(selector).flatMap((leaf) => ('name' in leaf ? [leaf.name] : []));
  return [...new Set(names)];
}

function leavesOf(selector: Selector): Selector[] {
  if (selector.kind === 'and' || selector.kind === 'or') return selector.terms.flatMap(leavesOf);
  return selector.kind === 'not' ? leavesOf(selector.term) : [selector];
}
