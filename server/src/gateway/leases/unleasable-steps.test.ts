// Steps for which no lease can be built: they hold up no others.
import { expect, test } from 'vitest';
import { LeaseBuilder } from '../../runs/leases/lease-builder.ts';
import { setupGateway } from '../testing.ts';

test('a step whose target was deleted meanwhile ends failed and says so, and others are leased', async () => {
  await using t = await setupGateway();
  const runId = await t.start({ targets: 2 });
  await t.sql`update targets set credential_id = null where name = 'host-1'`;
  const agent = await t.connectAgent();
  expect((await agent.next('leases')).leases).toMatchObject([{ target: { name: 'host-2' } }]);
  await expect.poll(async () => (await t.steps(runId))[0]?.status).toBe('failed');
  expect((await t.steps(runId))[0]).toMatchObject({
    reason: 'invalid_config',
    errorMessage: 'Target “host-1” has no credential any more.',
  });
});

test('a step whose job was altered in the database fails and says so, and the others are leased', async () => {
  let afresh: LeaseBuilder | undefined;
  await using t = await setupGateway({}, (builder) => ({
    build: (steps) => (afresh ?? builder).build(steps),
  }));
  const bad = await t.start();
  const good = await t.start();
  await t.sql`
    update jobs set data_key = 'altered' where id = (select job_id from job_runs where id = ${bad})`;
  // As of a server that has just started and has opened nothing yet.
  afresh = new LeaseBuilder({ sql: t.sql, masterKey: { ...t.masterKey } });
  const agent = await t.connectAgent();
  expect((await agent.next('leases')).leases).toMatchObject([{ runId: good }]);
  await expect.poll(() => t.steps(bad)).toMatchObject([{ status: 'failed', reason: 'invalid_config' }]);
});

test('a run under a master key that this server does not hold is left to others for a while, and the others are leased', async () => {
  let afresh: LeaseBuilder | undefined;
  await using t = await setupGateway({}, (builder) => ({
    build: (steps) => (afresh ?? builder).build(steps),
  }));
  const bad = await t.start();
  const good = await t.start();
  await t.sql`
    update jobs set data_key = overlay(data_key placing 'xx' from 5 for 2)
    where id = (select job_id from job_runs where id = ${bad})`;
  afresh = new LeaseBuilder({ sql: t.sql, masterKey: { ...t.masterKey } });
  const agent = await t.connectAgent();
  expect((await agent.next('leases')).leases).toMatchObject([{ runId: good }]);
  await expect
    .poll(
      () => t.sql`
      select status, not_before > clock_timestamp() as waits from job_run_steps where job_run_id = ${bad}`,
    )
    .toEqual([{ status: 'ready', waits: true }]);
});

test('a step that can be neither leased nor ended, as its row can’t be written, keeps no others from being leased', async () => {
  let bad: number | undefined;
  await using t = await setupGateway({}, (builder) => ({
    async build(steps) {
      bad ??= steps[0]?.jobRunId;
      const of = (isBad: boolean) => steps.filter(({ jobRunId }) => (jobRunId === bad) === isBad);
      const unbuildable = of(true).map((step) => ({ step, message: 'It can not be leased.' }));
      return { ...(await builder.build(of(false))), unbuildable };
    },
  }));
  await t.sql`create function refuse_first_run() returns trigger language plpgsql as $$ begin
    if new.job_run_id = (select min(id) from job_runs) then raise exception 'this row can not be written'; end if;
    return new; end $$`;
  await t.sql`create trigger refuse before update of status on job_run_steps for each row
    when (old.status = 'running') execute function refuse_first_run()`;
  const agent = await t.connectAgent();
  const first = await t.start();
  await expect.poll(() => bad).toBe(first);
  const runId = await t.start();
  expect((await agent.next('leases')).leases).toMatchObject([{ runId }]);
  expect(await t.steps(first)).toMatchObject([{ status: 'running' }]);
});
