// docs/benchmarks.md says for each goal whether it is met, and lists the missed ones at its top.
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { expect, test } from 'vitest';
import { markOf, withMissedGoals } from '../bench/goals.ts';

const page = readFileSync(resolve(import.meta.dirname, '../docs/benchmarks.md'), 'utf8');

test.each([
  ['8.7', 'at least 10', '**no**'],
  ['1.00', 'at least 1.0', 'yes'],
  ['2.2 times p50, 21.9 ms', 'at most 3 times p50', 'yes'],
  ['0.99 (0.16 s to 0.16 s)', 'at least 0.9', 'yes'],
  ['300 MB', 'under 300 MB', '**no**'],
  ['0', '0', 'yes'],
  ['2', '0', '**no**'],
  ['p50 13 ms, p99 1608 ms; the answer p50 11 ms, p99 154 ms', 'p99 under 500 ms', '**no**'],
  ['p50 613 ms, p99 499.5 ms', 'p99 under 500 ms', 'yes'],
  ['5.0 ms, 11.2 ms', 'p99 under 50 ms', '?'],
  ['5.0 ms', 'a few', '?'],
  ['5.0 ms', '', ''],
] as const)('%s for a goal of "%s" is marked "%s"', (measured, goal, mark) => {
  expect(markOf(measured, goal)).toBe(mark);
});

test('each row of the page has the mark that follows from its figures, and every goal can be parsed', () => {
  const rows = [...page.matchAll(/^\| (.*) \|$/gm)]
    .map(([, cells = '']) => cells.split(' | '))
    .filter((cells) => cells.length === 4 && cells[0] !== 'figure');
  expect(rows.length).toBeGreaterThan(100);
  const wrong = rows.filter(([, measured = '', goal = '', mark]) => {
    const right = markOf(measured, goal);
    return right !== mark || right === '?';
  });
  expect(wrong).toEqual([]);
});

test('the table at the top of the page lists exactly the goals that are not met', () => {
  expect(withMissedGoals(page)).toBe(page);
});

test('a new run of a benchmark updates the figures at the top, drops goals that are met, and keeps the reasons', () => {
  const written = (ratio: string, mark: string, missed: string) =>
    [
      '<!-- missed -->',
      '| benchmark | figure | measured | goal | why |',
      '|---|---|---|---|---|',
      missed,
      '<!-- /missed -->',
      '',
      '<!-- fast -->',
      '## It is 2 × fast',
      '',
      '| figure | measured | goal | reached |',
      '|---|---|---|---|',
      `| ratio | ${ratio} | at least 2 | ${mark} |`,
      '| memory | 9 MB | under 9 MB | **no** |',
      '<!-- /fast -->',
      '',
    ].join('\n');
  const link = '[fast](#it-is-2--fast)';
  const memory = `| ${link} | memory | 9 MB | under 9 MB | not looked for yet |`;
  const ratio = `| ${link} | ratio | 1.5 | at least 2 | the disk |`;
  const first = withMissedGoals(written('1.5', '**no**', ratio.replace('1.5', '1.1')));
  expect(first).toBe(written('1.5', '**no**', `${ratio}\n${memory}`));
  expect(withMissedGoals(written('2.5', 'yes', `${ratio}\n${memory}`))).toBe(written('2.5', 'yes', memory));
});
