import type { ImportedHost } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { turnsDuring } from '../testing.ts';
import { checkHosts } from './read-inventory.ts';

function hosts(count: number, more: Partial<ImportedHost> = {}): ImportedHost[] {
  return Array.from({ length: count }, (_, at) => ({ name: `h${at}`, host: '10.0.0.1', ...more }));
}

test('other work gets its turn while thousands of hosts are checked', async () => {
  const { result, turns } = await turnsDuring(() => checkHosts(hosts(5_000), {}));
  expect(result.errorCount).toBe(0);
  expect(turns).toBeGreaterThanOrEqual(50);
});

test('a host may have as many labels as a target, those of its groups included', async () => {
  const labels = Object.fromEntries(Array.from({ length: 62 }, (_, at) => [`l${at}`, '']));
  const of = async (more: Partial<ImportedHost>) => {
    const { errors } = await checkHosts(hosts(1, more), {});
    return errors.map(({ message }) => message);
  };
  expect(await of({ labels, groups: ['a', 'b'] })).toEqual([]);
  expect(await of({ labels: { ...labels, 'group/a': 'x' }, groups: ['a', 'b'] })).toEqual([]);
  expect(await of({ labels, groups: ['a', 'b', 'c'] })).toEqual([
    expect.stringContaining('would have 65 labels'),
  ]);
});
