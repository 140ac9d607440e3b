import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8';
import { expect, onTestFinished, test, vi } from 'vitest';
import { letHeapGrow } from '../memory/heap-growth.ts';
import { MemoryShare } from './memory-share.ts';

vi.mock('node:v8', () => ({ setFlagsFromString: vi.fn(), getHeapSpaceStatistics: vi.fn(() => []) }));

const flags = () => vi.mocked(setFlagsFromString).mock.calls.map(([flag]) => flag);
const lastOf = (name: string) => flags().findLast((flag) => flag.startsWith(`--${name}=`));
/** The flag that decides when the next full collection begins. */
const growth = () => lastOf('incremental-marking-hard-trigger');

test('the heap is kept small from the hundredth entry of the running transfers until there are fewer', () => {
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

test('entries that a transfer counts after its end change nothing', () => {
  const share = new MemoryShare();
  share.release();
  const before = growth();
  expect(before).toBe('--incremental-marking-hard-trigger=0');
  for (let entries = 0; entries < 1_000; entries += 1) share.countEntry();
  expect(growth()).toBe(before);
});

test('once it is large enough, the young generation is kept from growing while many entries are counted', () => {
  letHeapGrow();
  const mb = 1024 * 1024;
  const isOf = (bytes: number) =>
    vi
      .mocked(getHeapSpaceStatistics)
      .mockReturnValue([
        { space_name: 'new_space', space_used_size: bytes / 2, space_available_size: bytes / 2 },
      ] as never);
  const share = new MemoryShare();
  onTestFinished(() => share.release());
  const lookAt = (entries: number) => {
    for (let n = 0; n < entries; n += 1) share.countEntry();
  };
  isOf(2 * mb);
  lookAt(100);
  expect(lastOf('semi-space-growth-factor')).toBe('--semi-space-growth-factor=2');
  isOf(4 * mb);
  lookAt(99);
  expect(lastOf('semi-space-growth-factor')).toBe('--semi-space-growth-factor=2');
  lookAt(1);
  expect(lastOf('semi-space-growth-factor')).toBe('--semi-space-growth-factor=1');
  isOf(1 * mb);
  for (let n = 0; n < 100; n += 1) share.countMade();
  expect(lastOf('semi-space-growth-factor')).toBe('--semi-space-growth-factor=2');
});
