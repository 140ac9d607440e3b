import { expect, test } from 'vitest';
import { SettledLeases } from './settled-leases.ts';

test('only the newest settled leases are remembered, as many as fit', () => {
  const settled = new SettledLeases(2);
  for (const token of ['a', 'b', 'c']) settled.add(token);
  expect(['a', 'b', 'c', 'd'].map((token) => settled.has(token))).toEqual([false, true, true, false]);
});
