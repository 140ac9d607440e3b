// Slots of an agent whose steps are leased ahead of their turn.
import { expect, test } from 'vitest';
import { lease, setup, success } from '../testing/agent-setup.ts';

test('a step that is leased ahead too late for the slot of the one before waits for a slot', async () => {
  await using t = await setup();
  await t.start({ slots: 1 });
  const { connection } = await t.server.nextSession();
  connection.send({ type: 'leases', leases: [lease(1), lease(9, { config: { name: 'another' } })] });
  const first = await t.nextStep();
  await first.context.beforeStart();
  first.end(success);
  const another = await t.nextStep();
  await another.context.beforeStart();
  const follower = lease(2, { after: { step: 1, epoch: 1 }, config: { name: 'step 2' } });
  connection.send({ type: 'leases', leases: [follower] });
  connection.send({ type: 'cancel', step: 9, epoch: 1 });
  await expect.poll(() => another.context.signal.aborted).toBe(true);
  let hasBegun = false;
  const second = t.nextStep().then((step) => {
    hasBegun = true;
    return step;
  });
  await new Promise(setImmediate);
  expect(hasBegun).toBe(false);
  another.end({ status: 'cancelled', reason: 'cancelled' });
  expect((await second).config).toEqual({ name: 'step 2' });
});
