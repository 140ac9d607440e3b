// What the sweep does about the locks of target runs. The functions that take and free them are in
// migrations/0006_dispatch.sql.
import { limits } from '@opsconductor/protocol';
import type { Tx } from '../../database/connection.ts';
import { isRefused } from '../../database/refused-statement.ts';
import type { Condition } from '../../people/visibility.ts';

/** How many waiting steps may try again for each free lock. */
const woken = 16;
/** Locks that have not been used for this many days are forgotten. */
const unusedDays = 40;

/**
 * Frees the locks of target runs whose lease came back before anything had begun, and of target runs that ended
 * unknown, once an hour has passed since the attempt could last have been running. Then lets steps try again that wait
 * for a lock which became free unnoticed, because its holder was purged or committed at the same time.
 *
 * @param apart leaves out the target runs whose locks the database refuses to free.
 * @returns segments that have steps to claim, and steps that the database refuses to have try again.
 */
export async function freeStaleLocks(
  tx: Tx,
  apart = false,
): Promise<{ segments: number[]; refused: number[] }> {
  // The step's row is locked, so that no claim leases it meanwhile.
  await freeLocksOf(
    tx,
    tx`
      select st.target_run_id from job_run_steps st
      where st.target_run_id in (select target_run_id from lock_slots where taken_at < clock_timestamp() - interval '2 s')
        and st.status = 'ready' and st.has_locks
        and not exists (
          select from job_run_steps other where other.target_run_id = st.target_run_id
            and (other.status not in ('pending', 'ready', 'skipped') or other.id = st.id and st.started_at is not null))
        and not exists (select from job_run_step_attempts a where a.job_run_step_id = st.id)
      for update of st skip locked`,
    apart,
  );
  await freeLocksOf(
    tx,
    tx`
      select distinct ls.target_run_id from lock_slots ls
      join job_run_targets t on t.id = ls.target_run_id and t.status = 'unknown'
      where not exists (
        select from job_run_steps st where st.target_run_id = t.id and st.status = 'unknown'
          and st.deadline_at > clock_timestamp() - make_interval(secs => ${limits.unknownKeepsLocksMs / 1000}))`,
    apart,
  );
  const rows = await tx<{ segmentId: number | null; refusedStep: number | null }[]>`
    select distinct w.segment_id, w.refused_step from try_lock_waiters(array(
      with recursive waited as (
        (select waits_lock from job_run_steps where status = 'ready' and waits_lock is not null
          order by waits_lock limit 1)
        union all
        select (select st.waits_lock from job_run_steps st where st.status = 'ready' and st.waits_lock is not null
          and st.waits_lock > waited.waits_lock order by st.waits_lock limit 1)
        from waited where waited.waits_lock is not null
      )
      select waits_lock from waited where waits_lock is not null
        and not exists (select from lock_slots s where s.lock_key = waits_lock and s.slot = 0)
      limit 1000), ${woken}) w`;
  return {
    segments: [...new Set(rows.flatMap(({ segmentId }) => segmentId ?? []))],
    refused: rows.flatMap(({ refusedStep }) => refusedStep ?? []),
  };
}

async function freeLocksOf(tx: Tx, targetRuns: Condition, apart: boolean): Promise<void> {
  if (!apart) {
    await tx`
      with stale as materialized (${targetRuns}) select free_locks(array(select target_run_id from stale))`;
    return;
  }
  for (const { targetRunId } of await tx<{ targetRunId: number }[]>`${targetRuns}`) {
    await tx
      .savepoint((part) => part`select free_locks(array[${targetRunId}]::bigint[])`)
      .catch((error) => {
        if (!isRefused(error)) throw error;
      });
  }
}

/** Forgets locks that nobody holds and that were not used for a long time. */
export async function forgetUnusedLocks(tx: Tx): Promise<void> {
  await tx`
    delete from locks l where l.used_at < clock_timestamp() - make_interval(days => ${unusedDays})
      and not exists (select from lock_slots s where s.lock_key = l.lock_key)`;
}
