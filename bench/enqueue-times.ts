// A run with many steps, from its POST to the answer, against an INSERT … SELECT of as many rows into the same tables.
import type { Sql } from '../server/src/store/database/connection.ts';
import type { BenchSystem } from './bench-system.ts';
import { monotonicMs } from './start-times.ts';

export interface EnqueuePair {
  ours: number;
  theirs: number;
}

/** Returns milliseconds of both, alternating. No agent may take steps meanwhile. */
export async function enqueueTimes(
  system: BenchSystem,
  sql: Sql,
  { jobId, rounds }: { jobId: number; rounds: number },
): Promise<EnqueuePair[]> {
  const pairs: EnqueuePair[] = [];
  for (let round = -1; round < rounds; round += 1) {
    const postedMs = monotonicMs();
    const run = await system.startRun(jobId, system.targetIds);
    const ours = monotonicMs() - postedMs;
    const begunMs = monotonicMs();
    await copyRun(sql, run.id);
    const theirs = monotonicMs() - begunMs;
    if (round >= 0) pairs.push({ ours, theirs });
  }
  return pairs;
}

async function copyRun(sql: Sql, runId: number): Promise<void> {
  await sql`
    with run as (
      insert into job_runs (job_id, job_version, data_key, targets_total, total_steps, start_by, created_by, selection,
        priority)
      select job_id, job_version, data_key, targets_total, total_steps, start_by, created_by, selection, priority
      from job_runs where id = ${runId} returning id
    ), target_run as (
      insert into job_run_targets (job_run_id, target_id, segment_id, target_name)
      select run.id, t.target_id, t.segment_id, t.target_name
      from run, job_run_targets t where t.job_run_id = ${runId} order by t.id
      returning id, job_run_id, segment_id, target_id
    )
    insert into job_run_steps (job_run_id, target_run_id, segment_id, step_number, step_type, time_budget_s, status)
    select t.job_run_id, t.id, t.segment_id, st.step_number, st.step_type, st.time_budget_s, st.status
    from target_run t
    join job_run_targets old on old.job_run_id = ${runId} and old.target_id = t.target_id
    join job_run_steps st on st.target_run_id = old.id
    order by t.id, st.step_number`;
}
