import type { HostScanDetail } from '@opsconductor/protocol';
import { expect, it } from 'vitest';
import { load } from '../testing.ts';

const { ReachLook } = await load<typeof import('./reach-look.svelte.ts')>(
  'state/targets/reach-look.svelte.ts',
);
const scan = (completedAt: string | null) => ({ id: 5, completedAt }) as HostScanDetail;
const noPause = () => Promise.resolve();

it('follows a scan of one target until it is complete', async () => {
  const asked: unknown[] = [];
  let left = 3;
  const look = new ReachLook(
    async (request) => {
      asked.push(request);
      return scan(null);
    },
    async (id) => {
      asked.push(id);
      left -= 1;
      return scan(left === 0 ? '2026-01-01T00:00:00Z' : null);
    },
    noPause,
  );
  expect(await look.at(7)).toBe(true);
  expect(asked).toEqual([{ kind: 'reach', selection: { targetIds: [7] } }, 5, 5, 5]);
  expect(look.busyWith).toBeUndefined();
});

it('says that it is still waiting if no agent answers in time, and stops asking', async () => {
  let looks = 0;
  const look = new ReachLook(
    async () => scan(null),
    async () => {
      looks += 1;
      return scan(null);
    },
    noPause,
  );
  expect(await look.at(7)).toBe(false);
  expect(look.waits).toEqual({ targetId: 7, scanId: 5 });
  expect(looks).toBe(25);
});
