// Attempts that are overdue, among many that were leased ahead of their turn and whose turn has not come.
import { expect, test } from 'vitest';
import { createLog } from '../../log.ts';
import { endOf, setupRuns, success, testServerId } from '../testing.ts';
import { Sweeper } from './sweeper.ts';

test('an agent that sits on what it was leased ahead keeps nothing else from being given up', async () => {
  await using t = await setupRuns();
  await t.connect(t.agent, { slots: 512 });
  await t.start({ steps: 9, targets: 64 });
  const firsts = await t.claim();
  await t.settle(...firsts.map((first) => endOf(first, success, { wantsNext: true, ahead: 7 })));
  // The first of each may run for long, the others no longer.
  const [{ count } = { count: 0 }] = await t.sql<{ count: number }[]>`
    with late as (update job_run_steps set deadline_at = clock_timestamp() - interval '1 s'
      where status = 'running' and step_number > 2 returning 1) select count(*)::int from late`;
  expect(count).toBe(7 * 64);
  await t.start({ steps: 9, targets: 10 });
  await t.settle(...(await t.claim()).map((first) => endOf(first, success, { wantsNext: true, ahead: 7 })));
  await t.sql`update job_run_steps set deadline_at = clock_timestamp() - interval '1 s'
    where status = 'running' and step_number > 2`;
  const victim = await t.start();
  await t.claimOne();
  await t.sql`update job_run_steps set deadline_at = clock_timestamp() - interval '1 s' where job_run_id = ${victim}`;
  const log = createLog({ level: 'silent', plain: false });
  const sweeper = new Sweeper({ sql: t.sql, serverId: testServerId, log, publish: () => undefined });
  await t.sql`update cluster_clock set touched_at = clock_timestamp()`;
  await sweeper.sweep();
  expect(await t.run(victim)).toMatchObject({ status: 'unknown' });
});
