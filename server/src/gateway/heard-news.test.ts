import { expect, test } from 'vitest';
import { HeardNews } from './heard-news.ts';

test('an event heard from both sides is news once, in either order', () => {
  const heard = new HeardNews();
  const first = [{ id: 1, seq: 1 }];
  expect([heard.isNew(first), heard.isNew(first)]).toEqual([true, false]);
  expect(heard.isNew([{ id: 1, seq: 2 }])).toBe(true);
  expect(heard.isNew([...first, { id: 1, seq: 2 }])).toBe(true);
});

test('news that name no run are always new', () => {
  const heard = new HeardNews();
  expect([heard.isNew([]), heard.isNew([])]).toEqual([true, true]);
});

test('events heard only from other servers are not remembered forever', () => {
  const heard = new HeardNews();
  for (let seq = 0; seq <= 2_000; seq += 1) heard.isNew([{ id: 7, seq }]);
  expect(heard.isNew([{ id: 7, seq: 0 }])).toBe(true);
  expect(heard.isNew([{ id: 7, seq: 2_000 }])).toBe(false);
});
