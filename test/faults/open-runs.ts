// What the round's unfinished runs are waiting for.
import type { RunExplanation } from '@opsconductor/protocol';
import type { Sql } from '../../server/src/store/database/connection.ts';
import { cancelRun, within } from './ask-server.ts';
import type { Violation } from './check-round.ts';
import type { Cluster } from './cluster.ts';

export interface OpenRun {
  id: number;
  /** Some of its steps wait for a decision. */
  isHeld: boolean;
  /**
   * Runs with an unknown attempt whose locks everything left of this run waits for (docs/adr/0019): the locks become
   * free when that attempt is settled or cleaned up, or an hour after its deadline. Empty if this run waits for
   * anything else too.
   */
  lockHolders: number[];
}

export async function openRuns(sql: Sql, runIds: readonly number[]): Promise<OpenRun[]> {
  return sql<OpenRun[]>`
    with open as (
      select id from job_runs
      where id = any(${runIds as number[]}::bigint[]) and status in ('queued', 'running', 'cancelling', 'held')
    ), steps as (
      select st.* from open join job_run_steps st on st.job_run_id = open.id
    ), waiting as (
      select st.job_run_id, ls.job_run_id as holder, coalesce(t.status, 'free') as holder_status
      from steps st
      left join lock_slots ls on ls.lock_key = st.waits_lock and ls.target_run_id <> st.target_run_id
      left join job_run_targets t on t.id = ls.target_run_id
      where st.status = 'ready' and st.not_before = 'infinity'
    )
    select open.id,
      exists (select from steps st where st.job_run_id = open.id and st.status = 'held') as is_held,
      case when not exists (select from steps st where st.job_run_id = open.id
          and (st.status in ('running', 'held') or st.status = 'ready' and st.not_before is distinct from 'infinity'))
        and not exists (select from waiting w where w.job_run_id = open.id and w.holder_status <> 'unknown')
        then coalesce((select array_agg(distinct w.holder) from waiting w where w.job_run_id = open.id), '{}')
        else '{}' end as lock_holders
    from open order by open.id`;
}

/** Checks that readers are told this reason, and cancels the run like a person who can't wait. */
export async function giveUpWaiting(
  cluster: Cluster,
  runId: number,
  holders: readonly number[],
): Promise<Violation[]> {
  const { status, body } = await within(cluster.api(runId), (api) =>
    api.get<RunExplanation>(`/api/v1/runs/${runId}/explain`),
  );
  if (status !== 200) throw new Error(`explain was answered ${status}`);
  const told = body.waits.filter(({ code }) => code === 'lock');
  const named = told.flatMap(({ runs, message }) => [
    ...runs,
    ...(message.includes('other targets of this run') ? [runId] : []),
  ]);
  const isTold = holders.some((holder) => named.includes(holder));
  // In the meantime the target may have been cleaned up, which frees the lock.
  const [now] = await openRuns(cluster.sql, [runId]);
  if (!isTold && !holders.some((holder) => now?.lockHolders.includes(holder))) return [];
  await cancelRun(cluster, runId, false);
  if (isTold) return [];
  const text = `run ${runId} waits for a lock of runs ${holders}, and is explained by ${JSON.stringify(body.waits)}`;
  return [{ rule: 'explain', text, runId }];
}
