import { expect, it } from 'vitest';
import { hostsInView, pinnedGroup, rowKey } from './matrix-rows.ts';
import { group, rowsOf } from './testing.ts';

const groups = [group('failed', [1]), group('running', [2, 3]), group('succeeded', [4, 5, 6])];

it('each group has a heading with its hosts below it, unless it is folded', () => {
  expect(rowsOf(groups, ['running']).map(rowKey)).toEqual(['failed', 1, 'running', 'succeeded', 4, 5, 6]);
});

it('the succeeded hosts are pinned while their heading is below the rows in view', () => {
  const rows = rowsOf(groups);
  expect(pinnedGroup(rows, 4)?.status).toBe('succeeded');
  expect(pinnedGroup(rows, 5)).toBeUndefined();
  expect(pinnedGroup(rowsOf(groups.slice(0, 2)), 0)).toBeUndefined();
});

it('hosts beside those in view count as seen soon, and headings as none', () => {
  const rows = rowsOf([
    group(
      'running',
      Array.from({ length: 100 }, (_, at) => at + 1),
    ),
  ]);
  const seen = hostsInView(rows, { firstVisible: 20, lastVisible: 30 });
  expect([seen[0], seen.at(-1)]).toEqual([10, 40]);
  expect(hostsInView(rows, { firstVisible: 0, lastVisible: 2 })).toHaveLength(12);
});
