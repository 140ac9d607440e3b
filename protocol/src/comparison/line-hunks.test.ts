import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type LineHunk, lineHunks } from './line-hunks.ts';

const text = (...lines: string[]) => lines.join('\n');
/** Makes the later text from the earlier one, using only the hunks. */
function apply(before: string, hunks: readonly LineHunk[]): string {
  const lines = before.split('\n');
  const result: string[] = [];
  let at = 0;
  for (const hunk of hunks) {
    const start = hunk.beforeLines === 0 ? hunk.beforeStart : hunk.beforeStart - 1;
    result.push(...lines.slice(at, start));
    expect(result.length).toBe(hunk.afterLines === 0 ? hunk.afterStart : hunk.afterStart - 1);
    const kept = hunk.lines.filter((line) => line.op !== 'added').map((line) => line.text);
    expect(lines.slice(start, start + hunk.beforeLines)).toEqual(kept);
    result.push(...hunk.lines.filter((line) => line.op !== 'removed').map((line) => line.text));
    at = start + hunk.beforeLines;
  }
  return [...result, ...lines.slice(at)].join('\n');
}

test('a changed line comes with the three lines around it', () => {
  const before = text('1', '2', '3', '4', '5', '6', '7', '8', '9');
  expect(lineHunks(before, before.replace('5', 'five'))).toEqual([
    {
      beforeStart: 2,
      beforeLines: 7,
      afterStart: 2,
      afterLines: 7,
      lines: [
        { op: 'same', text: '2' },
        { op: 'same', text: '3' },
        { op: 'same', text: '4' },
        { op: 'removed', text: '5' },
        { op: 'added', text: 'five' },
        { op: 'same', text: '6' },
        { op: 'same', text: '7' },
        { op: 'same', text: '8' },
      ],
    },
  ]);
  expect(lineHunks(before, before)).toEqual([]);
});

test('changes far from each other are in separate hunks', () => {
  const lines = Array.from({ length: 40 }, (_, n) => `line ${n}`);
  const after = lines.map((line, n) => (n === 3 || n === 30 ? 'other' : line));
  const hunks = lineHunks(lines.join('\n'), after.join('\n'));
  expect(hunks.map(({ beforeStart, beforeLines }) => [beforeStart, beforeLines])).toEqual([
    [1, 7],
    [28, 7],
  ]);
});

test('hunks turn the earlier text into the later one, with the fewest changed lines', () => {
  const word = fc.constantFrom('a', 'b', 'c', '');
  const lines = fc.array(word, { maxLength: 30 });
  fc.assert(
    fc.property(lines, lines, (one, other) => {
      const [before, after] = [one.join('\n'), other.join('\n')];
      const hunks = lineHunks(before, after);
      expect(apply(before, hunks)).toBe(after);
      const changed = hunks.flatMap((hunk) => hunk.lines).filter((line) => line.op !== 'same').length;
      const [a, b] = [before.split('\n'), after.split('\n')];
      expect(changed).toBe(a.length + b.length - 2 * longestCommon(a, b));
    }),
    { numRuns: 300 },
  );
});

function longestCommon(a: readonly string[], b: readonly string[]): number {
  let row = new Array<number>(b.length + 1).fill(0);
  for (const x of a) {
    const next = [0];
    for (const [j, y] of b.entries()) {
      next.push(x === y ? (row[j] ?? 0) + 1 : Math.max(row[j + 1] ?? 0, next[j] ?? 0));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}

test('texts with little in common are replaced as a whole, without delay', () => {
  const lines = (word: string) => Array.from({ length: 20_000 }, (_, n) => `${word} ${n}`).join('\n');
  const [before, after] = [lines('before'), lines('after')];
  // Processor time, whatever else the machine does.
  const began = process.cpuUsage();
  const hunks = lineHunks(before, after);
  expect(process.cpuUsage(began).user).toBeLessThan(2_000_000);
  expect(apply(before, hunks)).toBe(after);
});
