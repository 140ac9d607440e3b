import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { StreamTurns } from './stream-turns.ts';

test('of many readers some are served at a time, in the order in which they came, and everything else between', async () => {
  const turns = new StreamTurns();
  const served: number[] = [];
  const all = Array.from({ length: 20 }, async (_, n) => {
    await turns.take();
    served.push(n);
  });
  const counts: number[] = [];
  while (served.length < 20) {
    await nextTurn();
    counts.push(served.length);
  }
  await Promise.all(all);
  expect(served).toEqual([...served].sort((a, b) => a - b));
  // The first eight at once, before anything else had its turn.
  expect(counts).toEqual([16, 20]);
  await turns.take();
});

test('the more readers there are, the less each pulls at once', () => {
  const turns = new StreamTurns();
  const leave = Array.from({ length: 500 }, () => turns.join());
  expect(500 * turns.pullRawBytes).toBeLessThanOrEqual(64 * 1024 * 1024);
  for (const each of leave) each();
  expect(turns.pullRawBytes).toBe(1024 * 1024);
});
