// A selector as data: what a target must be like. Its text is read by `parse-selector.ts`, written by
// `print-selector.ts`; the server turns it into SQL, `matches-selector.ts` says the same of one target at hand.

/** Whole names and patterns with `*`; the case of `host` does not count, all other case does. */
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
  /** `column`: where a parsed one stands in its text. */
  | { kind: PatternField; pattern: string; column?: number };

/** What a selector may ask of a target. */
export interface SelectableTarget {
  name: string;
  host: string;
  segment: string;
  groups: readonly string[];
  operatingSystem: string;
  labels: Readonly<Record<string, string>>;
}

/** Why a text is no selector, and what to write instead. */
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
  /** From 1; 1 where the selector was not parsed. */
  column: number;
}

/** Every name or pattern that the selector compares with this field, in the order of the text. */
export function patternsOf(selector: Selector, field: PatternField): NamedPattern[] {
  return leavesOf(selector).flatMap((leaf) =>
    leaf.kind === field && 'pattern' in leaf ? [{ pattern: leaf.pattern, column: leaf.column ?? 1 }] : [],
  );
}

/** Names of all labels that it asks for. */
export function labelNamesOf(selector: Selector): string[] {
  const names = leavesOf(selector).flatMap((leaf) => ('name' in leaf ? [leaf.name] : []));
  return [...new Set(names)];
}

function leavesOf(selector: Selector): Selector[] {
  if (selector.kind === 'and' || selector.kind === 'or') return selector.terms.flatMap(leavesOf);
  return selector.kind === 'not' ? leavesOf(selector.term) : [selector];
}
