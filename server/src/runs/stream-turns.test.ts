import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { maxUntakenBytes, StreamTurns } from './stream-turns.ts';

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

test('of readers that take nothing those that wait longest are cut off, and no more is held than of some', () => {
  const turns = new StreamTurns();
  const cut: number[] = [];
  const hand = (reader: { n: number }) => turns.handed(reader, maxUntakenBytes / 4, () => cut.push(reader.n));
  const readers = [0, 1, 2, 3, 4, 5].map((n) => ({ n }));
  const [first = { n: 0 }, , , , fifth = { n: 4 }, sixth = { n: 5 }] = readers;
  for (const reader of readers.slice(0, 4)) hand(reader);
  expect(cut).toEqual([]);
  // The first reads on, and is no longer the one that waits longest.
  hand(first);
  hand(fifth);
  expect(cut).toEqual([1]);
  turns.taken(first);
  hand(sixth);
  expect(cut).toEqual([1]);
});
