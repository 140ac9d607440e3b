// Compares two definitions of a job field by field. Steps are matched by id or name, wherever they stand.
import type { JobDefinition, StepDefinition } from '../api/jobs/jobs.ts';
import { type LineHunk, type LineWork, lineHunks, newLineWork } from './line-hunks.ts';

export const changeKinds = ['added', 'removed', 'changed', 'moved'] as const;
export type ChangeKind = (typeof changeKinds)[number];

export interface DefinitionChange {
  /**
   * Path in the later definition, such as `steps[2].config.command`; for something removed, the path in the earlier
   * one.
   */
  path: string;
  /** Path in the earlier definition, if it differs. */
  beforePath?: string;
  /** Name of the step that contains it. */
  step?: string;
  kind: ChangeKind;
  before?: unknown;
  after?: unknown;
  /** For texts of several lines. */
  hunks?: LineHunk[];
}

/** The path of a value in each of the two. */
interface Place {
  before: string;
  after: string;
  step?: string;
  /** Shared by all places. */
  lineWork: LineWork;
}

/** Returns the places where two definitions differ, in the order of the later one; empty if they are equal. */
export function compareDefinitions(before: JobDefinition, after: JobDefinition): DefinitionChange[] {
  const { steps: stepsBefore, ...restBefore } = before;
  const { steps: stepsAfter, ...restAfter } = after;
  const lineWork = newLineWork();
  return [
    ...compareObjects(restBefore, restAfter, { before: '', after: '', lineWork }),
    ...compareSteps(stepsBefore, stepsAfter, lineWork),
  ];
}

function compareSteps(
  before: readonly StepDefinition[],
  after: readonly StepDefinition[],
  lineWork: LineWork,
): DefinitionChange[] {
  const pairs = pairSteps(before, after);
  const isMoved = movedOnes(pairs);
  const changes: DefinitionChange[] = [];
  after.forEach((step, at) => {
    const from = pairs.get(at);
    const path = `steps[${at}]`;
    if (from === undefined) {
      changes.push({ path, step: step.name, kind: 'added', after: step });
      return;
    }
    const place = { before: `steps[${from}]`, after: path, step: step.name, lineWork };
    if (isMoved.has(at)) {
      changes.push({ ...pathsOf(place), step: step.name, kind: 'moved', before: from + 1, after: at + 1 });
    }
    changes.push(...compareObjects(before[from] ?? {}, step, place));
  });
  const kept = new Set(pairs.values());
  before.forEach((step, at) => {
    if (!kept.has(at)) changes.push({ path: `steps[${at}]`, step: step.name, kind: 'removed', before: step });
  });
  return changes;
}

/**
 * Maps positions in the later list to the earlier one: steps with the same id or name, else the same position and type.
 */
function pairSteps(
  before: readonly StepDefinition[],
  after: readonly StepDefinition[],
): ReadonlyMap<number, number> {
  const pairs = new Map<number, number>();
  const taken = new Set<number>();
  const pair = (matches: (a: StepDefinition, b: StepDefinition, from: number, to: number) => boolean) =>
    after.forEach((step, to) => {
      if (pairs.has(to)) return;
      const from = before.findIndex((one, at) => !taken.has(at) && matches(one, step, at, to));
      if (from < 0) return;
      pairs.set(to, from);
      taken.add(from);
    });
  pair((a, b) => a.id !== undefined && a.id === b.id);
  pair((a, b) => a.name === b.name);
  pair((a, b, from, to) => from === to && a.type === b.type);
  return pairs;
}

/** Steps whose order has changed: all except a longest sequence whose order is the same. */
function movedOnes(pairs: ReadonlyMap<number, number>): ReadonlySet<number> {
  const order = [...pairs].sort(([a], [b]) => a - b);
  const lengths = order.map(() => 1);
  const previous = order.map(() => -1);
  let last = -1;
  order.forEach(([, from], i) => {
    for (let j = 0; j < i; j += 1) {
      const isLonger = (lengths[j] ?? 0) + 1 > (lengths[i] ?? 0);
      if ((order[j]?.[1] ?? 0) < from && isLonger) {
        lengths[i] = (lengths[j] ?? 0) + 1;
        previous[i] = j;
      }
    }
    if (last < 0 || (lengths[i] ?? 0) > (lengths[last] ?? 0)) last = i;
  });
  const moved = new Set(order.map(([to]) => to));
  for (let i = last; i >= 0; i = previous[i] ?? -1) moved.delete(order[i]?.[0] ?? -1);
  return moved;
}

function compareValues(before: unknown, after: unknown, place: Place): DefinitionChange[] {
  if (before === after) return [];
  if (before === undefined) return [{ ...stepOf(place), path: place.after, kind: 'added', after }];
  if (after === undefined) return [{ ...stepOf(place), path: place.before, kind: 'removed', before }];
  if (isObject(before) && isObject(after)) return compareObjects(before, after, place);
  if (Array.isArray(before) && Array.isArray(after)) return compareArrays(before, after, place);
  const changed: DefinitionChange = { ...pathsOf(place), ...stepOf(place), kind: 'changed', before, after };
  if (typeof before === 'string' && typeof after === 'string' && `${before}${after}`.includes('\n')) {
    changed.hunks = lineHunks(before, after, place.lineWork);
  }
  return [changed];
}

function compareObjects(before: object, after: object, place: Place): DefinitionChange[] {
  const memberOf = (value: object, name: string): unknown =>
    Object.hasOwn(value, name) ? (value as Record<string, unknown>)[name] : undefined;
  const names = new Set([...Object.keys(after), ...Object.keys(before)]);
  return [...names].flatMap((name) =>
    compareValues(memberOf(before, name), memberOf(after, name), {
      ...place,
      before: inside(place.before, name),
      after: inside(place.after, name),
    }),
  );
}

/** Compares entries by position, except lists of plain values, which are compared as a whole. */
function compareArrays(
  before: readonly unknown[],
  after: readonly unknown[],
  place: Place,
): DefinitionChange[] {
  if (![...before, ...after].every(isObject)) {
    if (JSON.stringify(before) === JSON.stringify(after)) return [];
    return [{ ...pathsOf(place), ...stepOf(place), kind: 'changed', before, after }];
  }
  return Array.from({ length: Math.max(before.length, after.length) }, (_, at) =>
    compareValues(before[at], after[at], {
      ...place,
      before: `${place.before}[${at}]`,
      after: `${place.after}[${at}]`,
    }),
  ).flat();
}

function inside(path: string, name: string): string {
  if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) return `${path}[${JSON.stringify(name)}]`;
  return path === '' ? name : `${path}.${name}`;
}

function pathsOf({ before, after }: Place): Pick<DefinitionChange, 'path' | 'beforePath'> {
  return before === after ? { path: after } : { path: after, beforePath: before };
}

function stepOf({ step }: Place): Pick<DefinitionChange, 'step'> {
  return step === undefined ? {} : { step };
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
