// What a database that was set back has to forget, and what it may not give out again.
import type { Sql, Tx } from './connection.ts';

/** Further than the lost time can have counted: a run of the largest size has a million steps. */
const skippedRuns = 1_000_000;
const skippedSteps = 100_000_000;

/** The new timeline. */
export async function raiseTimeline(tx: Tx): Promise<number> {
  const [row] = await tx<
    { timeline: number }[]
  >`update installation set timeline = timeline + 1 returning timeline`;
  if (row === undefined) throw new Error('the database has no installation');
  return row.timeline;
}

/** Runs and steps of the lost time have numbers that people and agents know, which must not come to mean others. */
export async function skipNumbers(tx: Tx): Promise<void> {
  for (const [table, by] of [
    ['job_runs', skippedRuns],
    ['job_run_steps', skippedSteps],
  ] as const) {
    const next = tx`nextval(pg_get_serial_sequence(${table}, 'id'))`;
    await tx`select setval(pg_get_serial_sequence(${table}, 'id'), ${next} + ${by})`;
  }
}

/** Connections that the database believes to be open belong to servers that are gone. */
export async function endSessions(tx: Tx): Promise<void> {
  await tx`
    update agent_sessions set expires_at = clock_timestamp(), ready = false,
      disconnected_at = coalesce(disconnected_at, clock_timestamp())`;
}

/**
 * Agents have been given newer generations than the database knows: from each the next is taken that is not older than
 * this one. A negative number says so: -1 minus the oldest that is taken.
 */
export async function admitNewerGenerations(tx: Tx): Promise<number> {
  const result = await tx`
    update agents set generation = -1 - greatest(0, generation - case when generation_acked then 0 else 1 end),
      generation_acked = true
    where generation >= 0 and state <> 'revoked'`;
  return result.count;
}

/**
 * Unknown attempts may have been told of in the lost time, and forgotten by their agents: that one does not know them any
 * more says nothing (`unheardAttempts`).
 */
export async function doubtSilence(tx: Tx, timeline: number): Promise<void> {
  await tx`
    update job_run_step_attempts a set request_id = ${`restored-${timeline}`}
    from attempt_clean_ups c
    where a.job_run_step_id = c.job_run_step_id and a.epoch = c.epoch and a.status = 'unknown' and a.late_status is null
      and a.request_id is null`;
}

export async function openRunIds(tx: Tx): Promise<number[]> {
  const rows = await tx<{ id: number }[]>`
    select id from job_runs where status in ('queued', 'running', 'cancelling', 'held') order by id`;
  return rows.map(({ id }) => id);
}

/** Whether a server works on the database: one touches the cluster's clock each second. */
export async function isServed(sql: Sql, waitMs: number): Promise<boolean> {
  const touched = async () => {
    const [row] = await sql<{ at: string }[]>`select touched_at::text as at from cluster_clock`;
    return row?.at;
  };
  const before = await touched();
  await sql`select pg_sleep(${waitMs / 1_000})`;
  return (await touched()) !== before;
}
