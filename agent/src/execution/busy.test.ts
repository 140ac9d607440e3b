import { expect, test, vi } from 'vitest';
import { setup } from '../testing/agent-setup.ts';
import { busyReasonOf } from './busy.ts';

test('an agent is busy above its limits, and never without them', () => {
  const used = { rssBytes: 101, loadAverage: 3 };
  expect(busyReasonOf({}, used)).toBeUndefined();
  expect(busyReasonOf({ maxRssBytes: 101, maxLoad: 3 }, used)).toBeUndefined();
  expect(busyReasonOf({ maxRssBytes: 100 }, used)).toBe('memory');
  expect(busyReasonOf({ maxLoad: 2.5 }, used)).toBe('load');
  expect(busyReasonOf({ maxRssBytes: 100 }, { loadAverage: 3 })).toBeUndefined();
});

test('an agent that has no descriptor left to read its memory with goes on, and says nothing of it', async () => {
  await using t = await setup();
  using rss = vi.spyOn(process.memoryUsage, 'rss');
  rss.mockImplementation(() => {
    throw new Error('EMFILE: too many open files, uv_resident_set_memory');
  });
  await t.start({});
  const { connection } = await t.server.nextSession({ heartbeatIntervalMs: 100 });
  expect(await connection.next('heartbeat')).not.toHaveProperty('rssBytes');
  rss.mockReturnValue(4_096);
  expect(await connection.next('heartbeat')).toMatchObject({ rssBytes: 4_096 });
});
