// Finds the lines in which two texts differ (Myers' algorithm), grouped into hunks with context lines.

export interface DiffLine {
  op: 'same' | 'removed' | 'added';
  text: string;
}
export interface LineHunk {
  /** Number of the first line, from 1; for an empty side, that of the line before it. */
  beforeStart: number;
  beforeLines: number;
  afterStart: number;
  afterLines: number;
  lines: DiffLine[];
}

const contextLines = 3;
/** Beyond this many differing lines, no shortest difference is computed: the whole text counts as replaced. */
const maxDifferences = 1_000;
/** Lines that are compared for all texts together; as many as five texts without a line in common take. */
const maxSteps = 3_000_000;

/** How many more lines may be compared. The texts of two definitions share one, since there may be hundreds. */
export interface LineWork {
  stepsLeft: number;
}

/** Returns the work that the comparisons of two definitions may do together. */
export function newLineWork(): LineWork {
  return { stepsLeft: maxSteps };
}

/** Returns the lines in which two texts differ; empty if they are equal. */
export function lineHunks(before: string, after: string, work: LineWork = newLineWork()): LineHunk[] {
  if (before === after) return [];
  return hunksOf(differenceOf(before.split('\n'), after.split('\n'), work));
}

function differenceOf(before: readonly string[], after: readonly string[], work: LineWork): DiffLine[] {
  let head = 0;
  while (head < before.length && head < after.length && before[head] === after[head]) head += 1;
  let tail = 0;
  const shortest = Math.min(before.length, after.length) - head;
  while (tail < shortest && before[before.length - 1 - tail] === after[after.length - 1 - tail]) tail += 1;
  const same = (lines: readonly string[]) => lines.map((text): DiffLine => ({ op: 'same', text }));
  const middleBefore = before.slice(head, before.length - tail);
  const middleAfter = after.slice(head, after.length - tail);
  return [
    ...same(before.slice(0, head)),
    ...(shortestScript(middleBefore, middleAfter, work) ?? replaced(middleBefore, middleAfter)),
    ...same(before.slice(before.length - tail)),
  ];
}

function replaced(before: readonly string[], after: readonly string[]): DiffLine[] {
  return [
    ...before.map((text): DiffLine => ({ op: 'removed', text })),
    ...after.map((text): DiffLine => ({ op: 'added', text })),
  ];
}

/** Returns the shortest sequence of removed and added lines; `undefined` if it is too long, or takes too much work. */
function shortestScript(
  before: readonly string[],
  after: readonly string[],
  work: LineWork,
): DiffLine[] | undefined {
  const most = Math.min(before.length + after.length, maxDifferences);
  // reached[k + most]: how far into `before` the furthest path on diagonal k gets. A copy is kept for each number of
  // differences, for tracing the path back.
  let reached = new Int32Array(2 * most + 2);
  const trace: Int32Array[] = [];
  for (let differences = 0; differences <= most; differences += 1) {
    trace.push(reached);
    reached = reached.slice();
    if (work.stepsLeft <= 0) return undefined;
    for (let k = -differences; k <= differences; k += 2) {
      const isDown =
        k === -differences || (k !== differences && at(reached, most + k - 1) < at(reached, most + k + 1));
      let x = isDown ? at(reached, most + k + 1) : at(reached, most + k - 1) + 1;
      const start = x;
      while (x < before.length && x - k < after.length && before[x] === after[x - k]) x += 1;
      work.stepsLeft -= 1 + x - start;
      reached[most + k] = x;
      if (x >= before.length && x - k >= after.length) return walkBack(before, after, trace, most);
    }
  }
  return undefined;
}

function walkBack(
  before: readonly string[],
  after: readonly string[],
  trace: readonly Int32Array[],
  most: number,
): DiffLine[] {
  const lines: DiffLine[] = [];
  let x = before.length;
  let y = after.length;
  for (let differences = trace.length - 1; differences >= 0; differences -= 1) {
    const reached = trace[differences] ?? new Int32Array();
    const k = x - y;
    const isDown =
      k === -differences || (k !== differences && at(reached, most + k - 1) < at(reached, most + k + 1));
    const previousX = differences === 0 ? 0 : at(reached, most + (isDown ? k + 1 : k - 1));
    const previousY = differences === 0 ? 0 : previousX - (isDown ? k + 1 : k - 1);
    while (x > previousX && y > previousY) {
      x -= 1;
      y -= 1;
      lines.push({ op: 'same', text: before[x] ?? '' });
    }
    if (differences === 0) break;
    if (isDown) {
      y -= 1;
      lines.push({ op: 'added', text: after[y] ?? '' });
    } else {
      x -= 1;
      lines.push({ op: 'removed', text: before[x] ?? '' });
    }
  }
  return lines.reverse();
}

function at(values: Int32Array, index: number): number {
  return values[index] ?? 0;
}

function hunksOf(lines: readonly DiffLine[]): LineHunk[] {
  const hunks: LineHunk[] = [];
  let from = 0;
  let beforeAt = 1;
  let afterAt = 1;
  for (const [start, end] of rangesOf(lines)) {
    for (const line of lines.slice(from, start)) {
      if (line.op !== 'added') beforeAt += 1;
      if (line.op !== 'removed') afterAt += 1;
    }
    const inside = lines.slice(start, end);
    const beforeLines = inside.filter((line) => line.op !== 'added').length;
    const afterLines = inside.filter((line) => line.op !== 'removed').length;
    hunks.push({
      beforeStart: beforeLines === 0 ? beforeAt - 1 : beforeAt,
      beforeLines,
      afterStart: afterLines === 0 ? afterAt - 1 : afterAt,
      afterLines,
      lines: inside,
    });
    from = start;
  }
  return hunks;
}

/** Ranges of the hunks: changes with their context, merged where they would touch. */
function rangesOf(lines: readonly DiffLine[]): [number, number][] {
  const ranges: [number, number][] = [];
  lines.forEach(({ op }, index) => {
    if (op === 'same') return;
    const start = Math.max(0, index - contextLines);
    const end = Math.min(lines.length, index + contextLines + 1);
    const last = ranges.at(-1);
    if (last !== undefined && start <= last[1]) last[1] = end;
    else ranges.push([start, end]);
  });
  return ranges;
}
