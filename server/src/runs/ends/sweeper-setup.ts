// For tests: a sweeper, and what makes time have passed for it.
import { createLog } from '../../log.ts';
import type { ProgressNews } from '../progress/run-ledger.ts';
import { setupRuns, type TestRuns, testServerId } from '../testing.ts';
import { Sweeper } from './sweeper.ts';

export async function setupSweeper() {
  const t = await setupRuns();
  const published: ProgressNews[] = [];
  const warnings: object[] = [];
  const log = createLog({ level: 'silent', plain: false });
  log.warn = (of: object) => void warnings.push(of);
  const sweeper = new Sweeper({
    sql: t.sql,
    serverId: testServerId,
    log,
    publish: (news) => published.push(news),
  });
  return Object.assign(t, {
    sweeper,
    published,
    warnings,
    /** Sweeps as if nobody had done so for this long, however long that really is. */
    async sweep(pausedS = 0) {
      await pausedFor(t, pausedS);
      await sweeper.sweep();
    },
  });
}

/** Moves the agent's last heartbeat, and the end of its lease, into the past. */
export async function silentFor(t: TestRuns, seconds: number): Promise<void> {
  await t.sql`
    update agent_sessions set last_heartbeat_at = clock_timestamp() - make_interval(secs => ${seconds}),
      expires_at = clock_timestamp() + make_interval(secs => ${20 - seconds})`;
}

export async function refuseToWrite({ sql }: TestRuns, stepId: number | undefined): Promise<void> {
  await sql`create function refuse_step() returns trigger language plpgsql as $$
    begin raise exception 'this row can not be written'; end $$`;
  await sql.unsafe(`create trigger refuse before update on job_run_steps for each row
    when (old.id = ${stepId}) execute function refuse_step()`);
}

/** Makes it look as if no server had swept for this long. */
export async function pausedFor(t: TestRuns, seconds: number): Promise<void> {
  await t.sql`update cluster_clock set touched_at = clock_timestamp() - make_interval(secs => ${seconds})`;
}
