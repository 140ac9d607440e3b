import { expect, test } from 'vitest';
import { SearchTime, searchPattern } from './search-pattern.ts';

/** The processor time of this process: whatever else the machine does takes none of it. */
const cpuMs = () => process.cpuUsage().user / 1_000;

const search = (source: string, text: string, isWhole = true) =>
  searchPattern(source, text, new SearchTime(cpuMs), isWhole);

test('the last match counts; its group “value”, else its first group, else the whole', async () => {
  const text = 'v=1 x\nv=2 y\n';
  expect(await search('v=(\\d) (\\w)', text)).toEqual({ value: '2' });
  expect(await search('v=(\\d) (?P<value>\\w)', text)).toEqual({ value: 'y' });
  expect(await search('v=\\d', text)).toEqual({ value: 'v=2' });
  expect(await search('^v=(.*)$', text)).toEqual({ value: '2 y' });
  expect(await search('1|(q)', text)).toEqual({ missing: 'its pattern matches nowhere' });
});

test('a line whose beginning was cut off is not mistaken for a whole one', async () => {
  expect(await search('^(.*)$', 'art of a line\n', false)).toEqual({ value: '' });
  expect(await search('^id=(.*)', 'id=1', true)).toEqual({ value: '1' });
  expect(await search('^id=(.+)', 'id=1\nx', false)).toEqual({
    missing: 'its pattern is not in the last 1 KiB',
  });
});

test('a long pattern looks at less of a long text, so that one search stays short', async () => {
  const text = `needle\n${'ab'.repeat(130_000)}`;
  const began = cpuMs();
  // Without a bound this pattern takes many seconds.
  expect(await search('(?:.?[ab]){0,90}(c|d)', text)).toEqual({
    missing: 'its pattern is not in the last 21 KiB',
  });
  expect(cpuMs() - began).toBeLessThan(5_000);
  expect(await search('needle', `x${text}`)).toEqual({ value: 'needle' });
});

test('many slow matches stop when the time is over, and let other work run meanwhile', async () => {
  let turns = 0;
  let isSearching = true;
  const other = () => {
    turns += 1;
    if (isSearching) setImmediate(other);
  };
  setImmediate(other);
  let now = 0;
  // Each look moves this clock on, as if every match had taken 10 ms.
  const time = new SearchTime(() => (now += 10));
  expect(await searchPattern('x', 'x'.repeat(100_000), time)).toEqual({
    missing: 'looking for its pattern took more than two seconds',
  });
  isSearching = false;
  expect(now).toBeLessThan(5_000);
  expect(turns).toBeGreaterThan(50);
});
