import { expect, test } from 'vitest';
import { HeardNews } from './heard-news.ts';

test('what is heard from both sides is news once, in either order', () => {
  const heard = new HeardNews();
  const first = [{ id: 1, seq: 1 }];
  expect([heard.isNew(first), heard.isNew(first)]).toEqual([true, false]);
  expect(heard.isNew([{ id: 1, seq: 2 }])).toBe(true);
  expect(heard.isNew([...first, { id: 1, seq: 2 }])).toBe(true);
});

test('news of no run are always news', () => {
  const heard = new HeardNews();
  expect([heard.isNew([]), heard.isNew([])]).toEqual([true, true]);
});

test('what other servers tell once is not remembered for ever', () => {
  const heard = new HeardNews();
  for (let seq = 0; seq <= 2_000; seq += 1) heard.isNew([{ id: 7, seq }]);
  expect(heard.isNew([{ id: 7, seq: 0 }])).toBe(true);
  expect(heard.isNew([{ id: 7, seq: 2_000 }])).toBe(false);
});
