// A run's events: what changed, numbered under the lock of the run's row.
import type { RunStatus } from '@opsconductor/protocol';
import type { Queryable, Tx } from '../../database/connection.ts';

export async function insertRunEvents(
  tx: Tx,
  events: readonly { jobRunId: number; seq: number; at: Date; change: object }[],
): Promise<void> {
  if (events.length === 0) return;
  await tx`
    insert into run_events (job_run_id, seq, at, change)
    select c."jobRunId", c.seq, c.at, c.change
    from jsonb_to_recordset(${tx.json(events as never)}::jsonb) as c(
      "jobRunId" bigint, seq bigint, at timestamptz, change jsonb)`;
}

export interface RunEvent {
  seq: number;
  at: Date;
  /** JSON of an object, as it was stored: it may be large, so it is passed on unparsed. */
  change: string;
  /** The run's status, if the event contains it. */
  status: RunStatus | null;
}

/**
 * Returns events numbered above `after`, in order: at most `maxEvents`, ending with the one that reaches `maxBytes`.
 */
export async function readRunEvents(
  db: Queryable,
  runId: number,
  after: number,
  { maxEvents, maxBytes }: { maxEvents: number; maxBytes: number },
): Promise<RunEvent[]> {
  // Recursive, one event at a time, because the database knows an event's length only after reading all of it.
  return db<RunEvent[]>`
    with recursive told as (
      select first.*, 1 as number, octet_length(first.change)::bigint as bytes from (
        select seq, at, change::text as change, change->'run'->>'status' as status from run_events
        where job_run_id = ${runId} and seq > ${after} order by seq limit 1) first
      union all
      select next.*, told.number + 1, told.bytes + octet_length(next.change) from told cross join lateral (
        select seq, at, change::text as change, change->'run'->>'status' as status from run_events
        where job_run_id = ${runId} and seq > told.seq order by seq limit 1) next
      where told.number < ${maxEvents}::int and told.bytes < ${maxBytes}::bigint
    )
    select seq, at, change, status from told order by seq`;
}
