import { expect, test } from 'vitest';
import { Turns } from './turns.ts';

test('only the given number have their turn at a time, and the others follow in the order in which they came', async () => {
  const turns = new Turns(2);
  const began: number[] = [];
  const all = [1, 2, 3, 4].map(async (n) => {
    await turns.take();
    began.push(n);
  });
  await Promise.all(all.slice(0, 2));
  expect(began).toEqual([1, 2]);
  expect(turns.areAwaited).toBe(true);
  turns.done();
  await all[2];
  expect(began).toEqual([1, 2, 3]);
  turns.done();
  await all[3];
  expect(turns.areAwaited).toBe(false);
  turns.done();
  turns.done();
  await turns.take();
  expect(began).toEqual([1, 2, 3, 4]);
});
