// An agent with many slots, each of which has steps that were leased ahead of their turn.
import { limits } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { lease, setup } from '../testing/agent-setup.ts';

test('an agent whose every slot has steps ahead has not lost its journal when it reconnects', async () => {
  await using t = await setup();
  const slots = limits.maxSlots;
  await t.start({ slots, stepsAheadMs: 60_000 });
  const { connection } = await t.server.nextSession();
  const chains = Array.from({ length: slots }, (_, n) => (n + 1) * 100);
  for (const first of chains) {
    const ahead = Array.from({ length: limits.maxStepsAhead - 1 }, (_, n) =>
      lease(first + n + 1, { after: { step: first + n, epoch: 1 } }),
    );
    connection.send({ type: 'leases', leases: [lease(first), ...ahead] });
  }
  for (const _ of chains) await (await t.nextStep()).context.beforeStart();
  connection.close(1012);
  const { resume } = await t.server.nextSession();
  expect(resume.attempts.filter(({ state }) => state === 'running')).toHaveLength(slots);
  // What is missing from a journal that is not intact becomes unknown.
  expect(resume.journalIntact).toBe(true);
});
