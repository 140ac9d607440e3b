import type { Run } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { RunCount } from './run-count.ts';

const page = (items: number, more: { nextCursor?: string; total?: number } = {}) => ({
  items: Array.from({ length: items }, (_, id) => ({ id }) as Run),
  nextCursor: null,
  ...more,
});

test('runs are counted with the first page, and again after a minute', () => {
  const count = new RunCount();
  expect(count.isDue(0)).toBe(true);
  expect(count.after(page(50, { nextCursor: 'next', total: 700 }))).toBe(700);
  expect(count.isDue(3_000)).toBe(false);
  expect(count.after(page(50, { nextCursor: 'next' }))).toBe(700);
  expect(count.isDue(60_000)).toBe(true);
  expect(count.after(page(50, { nextCursor: 'next', total: 701 }))).toBe(701);
});

test('a list on one page needs no count until there is a second page', () => {
  const count = new RunCount();
  expect(count.isDue(0)).toBe(true);
  expect(count.after(page(50, { total: 50 }))).toBe(50);
  expect(count.isDue(3_000)).toBe(true);
  expect(count.after(page(50, { nextCursor: 'next', total: 51 }))).toBe(51);
  expect(count.isDue(6_000)).toBe(false);
});

test('a count that failed is not requested again with each page', () => {
  const count = new RunCount();
  expect(count.isDue(0)).toBe(true);
  expect(count.isDue(3_000)).toBe(false);
  expect(count.after(page(50, { nextCursor: 'next' }))).toBeUndefined();
});
