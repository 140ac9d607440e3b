import { expect, it } from 'vitest';
import { readInWorker } from './read-in-worker.ts';
import { readInventory } from './read-inventory.ts';

const ini = [{ path: 'hosts', content: '[web]\nweb[1:3] ansible_password=x\nbad line\n' }];

it('a worker thread reads with the same result as the main thread, two inventories at a time', async () => {
  const reading = [1, 2, 3].map(() => readInWorker('ansible_ini', ini, {}));
  const [first, second, third] = await Promise.allSettled(reading);
  const value = readInventory('ansible_ini', ini, {});
  expect(value.errorCount).toBe(1);
  expect([first, second]).toEqual(Array(2).fill({ status: 'fulfilled', value }));
  expect(third).toMatchObject({ reason: { code: 'rate_limited', retryAfterS: 5 } });
  expect((await readInWorker('ansible_ini', ini, {})).findings).toHaveLength(1);
});

// So much that what is read must stay above 8 MB, whenever memory is collected.
const large = Array.from({ length: 20_000 }, (_, n) => `host${n} note=${'x'.repeat(400)}${n}\n`).join('');

it.each([
  ['time', { timeoutMs: 1, maxHeapMb: 1_024 }],
  ['memory', { timeoutMs: 60_000, maxHeapMb: 8 }],
])('reading ends when it exceeds its limit of %s, and the server continues', async (_, bounds) => {
  const refused = readInWorker('ansible_ini', [{ path: 'hosts', content: large }], {}, bounds);
  await expect(refused).rejects.toMatchObject({ code: 'too_large' });
});
