// What an agent does with its leases once their deadline has passed.
import { expect, test } from 'vitest';
import { lease, ManualClock, setup, success } from '../testing/agent-setup.ts';

/** An agent that has been leased a step, which asks whether it may begin. */
async function setupLeased() {
  const t = await setup();
  const clock = new ManualClock();
  await t.start({ clock });
  const { connection } = await t.server.nextSession({ leaseTtlMs: 20_000 });
  connection.send({ type: 'leases', leases: [lease(1)] });
  return { ...t, clock, connection, step: await t.nextStep() };
}

test('nothing is started after the lease deadline, and the lease is handed back', async () => {
  await using t = await setupLeased();
  const { clock, connection, step } = t;
  clock.monotonic += 20_000;
  const refusal = await step.context.beforeStart().catch((error: unknown) => error);
  expect(String(refusal)).toContain('lease_expired');
  step.fail(refusal);
  expect(await connection.next('return')).toMatchObject({ attempts: [{ step: 1 }], reason: 'lease_expired' });
  expect(connection.untaken('started')).toBe(0);
});

test('a start that is recorded a second time after the lease deadline fails because nothing ran, and is not handed back', async () => {
  await using t = await setupLeased();
  const { clock, connection, step } = t;
  await step.context.beforeStart();
  clock.monotonic += 20_000;
  const refusal = await step.context.beforeStart().catch((error: unknown) => error);
  step.fail(refusal);
  expect(await connection.next('complete')).toMatchObject({
    step: 1,
    outcome: { status: 'failed', reason: 'unreachable', message: expect.stringContaining('not begun') },
  });
  expect(connection.order).not.toContain('return');
});

test('a lease that expired while there was no connection is absent from the next resume', async () => {
  await using t = await setupLeased();
  const { clock, connection, step } = t;
  connection.cut();
  const next = await t.server.nextConnection();
  clock.wall += 20_000;
  step.fail(await step.context.beforeStart().catch((error: unknown) => error));
  await new Promise(setImmediate);
  await next.welcome();
  expect(await next.next('resume')).toMatchObject({ attempts: [], journalIntact: true });
});

test('a lease counts from when the agent asked for its session, not from when the server answered', async () => {
  await using t = await setup();
  const clock = new ManualClock();
  await t.start({ clock });
  const connection = await t.server.nextConnection();
  // An acknowledged heartbeat renews it from a later time.
  connection.acknowledgesHeartbeats = false;
  await connection.welcome({ leaseTtlMs: 20_000 });
  await connection.next('resume');
  clock.monotonic += 15_000;
  connection.send({ type: 'resumed', attempts: [] });
  connection.send({ type: 'leases', leases: [lease(1), lease(2)] });
  const steps = [await t.nextStep(), await t.nextStep()];
  await steps[0]?.context.beforeStart();
  clock.monotonic += 5_000;
  await expect(steps[1]?.context.beforeStart()).rejects.toThrow('lease_expired');
});

test('what already runs goes on past the lease deadline', async () => {
  await using t = await setupLeased();
  const { clock, connection, step } = t;
  await step.context.beforeStart();
  clock.monotonic += 60_000;
  step.end(success);
  expect((await connection.next('complete')).outcome).toEqual(success);
});
