import { setFlagsFromString } from 'node:v8';
import { expect, test, vi } from 'vitest';
import { letHeapGrow } from '../heap-growth.ts';
import { MemoryShare } from './memory-share.ts';

vi.mock('node:v8', () => ({ setFlagsFromString: vi.fn() }));

const growth = () => vi.mocked(setFlagsFromString).mock.lastCall?.[0];

test('the heap is kept small from the hundredth entry of the transfers under way until fewer are', () => {
  letHeapGrow();
  const wide = growth();
  const [few, one, many] = [new MemoryShare(), new MemoryShare(), new MemoryShare()];
  const ofFiles = growth();
  expect(ofFiles).not.toBe(wide);
  for (let entries = 1; entries < 100; entries += 1) few.countEntry();
  expect(growth()).toBe(ofFiles);
  one.countEntry();
  const narrow = growth();
  expect([wide, ofFiles]).not.toContain(narrow);
  for (let entries = 0; entries < 5_000; entries += 1) many.countEntry();
  for (const share of [few, few, one]) share.release();
  expect(growth()).toBe(narrow);
  many.release();
  expect(growth()).toBe(wide);
});

test('what a transfer looks at after its end changes nothing', () => {
  const share = new MemoryShare();
  share.release();
  const before = growth();
  expect(before).toBe('--heap-growing-percent=400');
  for (let entries = 0; entries < 1_000; entries += 1) share.countEntry();
  expect(growth()).toBe(before);
});
