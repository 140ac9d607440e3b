// Targets that don't answer the agents that watch commands there.
import type { Queryable } from '../database/connection.ts';

export interface TargetSilence {
  stepId: number;
  epoch: number;
  leaseToken: string;
  agentId: number;
  /** For how long it has not answered; undefined if it answers again. */
  silentMs: number | undefined;
  /** In how many ms the step's time is up. */
  leftMs: number | undefined;
}

/** Writes what an agent says about the target of an attempt that it holds. Anything else is left alone. */
export async function writeTargetSilence(
  sql: Queryable,
  { stepId, epoch, leaseToken, agentId, silentMs, leftMs }: TargetSilence,
): Promise<void> {
  const ago = (ms: number | null) => sql`make_interval(secs => ${ms === null ? null : ms / 1_000}::float8)`;
  if (silentMs === undefined) {
    await sql`
      delete from silent_targets where job_run_step_id = ${stepId} and epoch = ${epoch} and agent_id = ${agentId}`;
    return;
  }
  await sql`
    insert into silent_targets (job_run_step_id, epoch, agent_id, since, until)
    select id, epoch, agent_id, clock_timestamp() - ${ago(silentMs)}, clock_timestamp() + ${ago(leftMs ?? null)}
    from job_run_steps
    where id = ${stepId} and epoch = ${epoch} and lease_token = ${leaseToken} and agent_id = ${agentId}
      and status = 'running'
    on conflict (job_run_step_id) do update
      set epoch = excluded.epoch, agent_id = excluded.agent_id, since = excluded.since, until = excluded.until`;
}
