import { expect, test } from 'vitest';
import { SettledLeases } from './settled-leases.ts';

test('of leases that are over the newest are remembered, as many as fit', () => {
  const settled = new SettledLeases(2);
  for (const token of ['a', 'b', 'c']) settled.add(token);
  expect(['a', 'b', 'c', 'd'].map((token) => settled.has(token))).toEqual([false, true, true, false]);
});
