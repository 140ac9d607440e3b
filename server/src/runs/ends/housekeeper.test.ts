import { expect, test } from 'vitest';
import { createLog } from '../../log.ts';
import { blockedBackends, endOf, holdTransaction, setupRuns, testServerId } from '../testing.ts';
import { Housekeeper, type HousekeeperDeps } from './housekeeper.ts';
import { Sweeper } from './sweeper.ts';

async function setup(retention?: HousekeeperDeps['retention']) {
  const t = await setupRuns();
  const log = createLog({ level: 'silent', plain: false });
  const errors: string[] = [];
  log.error = (_: object, message?: string) => void errors.push(message ?? '');
  await t.sql`update cluster_clock set touched_at = clock_timestamp()`;
  const housekeeper = new Housekeeper({ sql: t.sql, log, retention });
  const sweeper = new Sweeper({ sql: t.sql, serverId: testServerId, log, publish: () => {} });
  return Object.assign(t, { housekeeper, sweeper, errors });
}

test('while old runs are being removed, however long that takes, the sweep goes on', async () => {
  await using t = await setup({ outputDays: undefined, runDays: 30 });
  const oldId = await t.start();
  await t.settle(endOf(await t.claimOne()));
  await t.sql`update job_runs set completed_at = completed_at - interval '40 days' where id = ${oldId}`;
  const runId = await t.start();
  await t.claimOne();
  const stepIsFree = await holdTransaction(
    t.sql,
    (tx) => tx`select from job_run_steps where job_run_id = ${oldId} for update`,
  );
  t.housekeeper.start();
  t.sweeper.start();
  await blockedBackends(t.sql, 1);
  await t.sql`
    update agent_sessions set last_heartbeat_at = clock_timestamp() - interval '301 s',
      expires_at = clock_timestamp() - interval '281 s'`;
  await expect.poll(async () => (await t.run(runId)).status, { timeout: 5_000 }).toBe('unknown');
  await stepIsFree();
  await expect
    .poll(() => t.sql`select from job_runs where id = ${oldId}`, { timeout: 5_000 })
    .toHaveLength(0);
  await Promise.all([t.housekeeper.stop(), t.sweeper.stop()]);
  expect(t.errors).toEqual([]);
});

test('a server that stops leaves what is still to be removed for the next time', async () => {
  await using t = await setup({ outputDays: undefined, runDays: 30 });
  const oldId = await t.start({ targets: 2 });
  await t.settle(...(await t.claim()).map((lease) => endOf(lease)));
  await t.sql`
    insert into job_runs (job_id, job_version, status, completed_at, start_by, data_key, targets_total, total_steps)
    select job_id, job_version, status, completed_at, start_by, data_key, 0, 5000 from job_runs, generate_series(1, 2)`;
  await t.sql`update job_runs set completed_at = completed_at - id * interval '1 s' - interval '40 days'`;
  const runIsFree = await holdTransaction(t.sql, (tx) => tx`lock table job_run_targets in share mode`);
  const round = t.housekeeper.round();
  await blockedBackends(t.sql, 1);
  const stopped = t.housekeeper.stop();
  await runIsFree();
  await Promise.all([round, stopped]);
  // Each of them is as large as a batch: the one that was under way is gone.
  expect(await t.sql`select from job_runs where id <> ${oldId}`).toHaveLength(1);
  expect(t.errors).toEqual([]);
});

test('what can’t be cleaned up keeps nothing else from being removed', async () => {
  await using t = await setup({ outputDays: undefined, runDays: 30 });
  const oldId = await t.start();
  await t.settle(endOf(await t.claimOne()));
  await t.sql`update job_runs set completed_at = completed_at - interval '40 days' where id = ${oldId}`;
  await t.sql`create function refuse_row() returns trigger language plpgsql as $$
    begin raise exception 'this row can not be deleted'; end $$`;
  await t.sql`create trigger refuse before delete on sessions execute function refuse_row()`;
  await t.housekeeper.round();
  expect(await t.sql`select from job_runs where id = ${oldId}`).toHaveLength(0);
  expect(t.errors).toEqual(['the housekeeping failed']);
});
