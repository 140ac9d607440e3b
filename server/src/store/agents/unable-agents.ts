// Steps that were leased to an agent that turns out to be unable to run them.
import type { Queryable } from '../database/connection.ts';

export interface UnableLease {
  stepId: number;
  epoch: number;
  leaseToken: string;
  /** A capability that the step needs and its agent does not have. */
  need: string;
}

/**
 * Adds the missing capability to the needs of these steps, so that no agent without it is given them again. Steps are
 * left out if their lease is over, or if no other agent of the segment has all that they need: an active one that is
 * not drained and has not been silent for longer than `unknown_after`. Returns the ids of the changed steps.
 */
export async function leaveToAbleAgents(
  sql: Queryable,
  leases: readonly UnableLease[],
): Promise<Set<number>> {
  if (leases.length === 0) return new Set();
  const rows = await sql<{ id: number }[]>`
    update job_run_steps st
    set needs = array(select distinct need from unnest(coalesce(st.needs, '{}') || c.need) as need order by need)
    from jsonb_to_recordset(${sql.json(leases as never)}::jsonb) as c(
      "stepId" bigint, epoch integer, "leaseToken" text, need text)
    where st.id = c."stepId" and st.epoch = c.epoch and st.lease_token = c."leaseToken" and st.status = 'running'
      and exists (
        select from agents a
        join agent_sessions s on s.agent_id = a.id and s.session_number = a.session_number
        join segments g on g.id = a.segment_id
        where a.segment_id = st.segment_id and a.state = 'active' and a.drain_requested_at is null
          and s.capabilities @> (coalesce(st.needs, '{}') || c.need)
          and s.last_heartbeat_at + g.unknown_after_s * interval '1 second' > clock_timestamp())
    returning st.id`;
  return new Set(rows.map(({ id }) => id));
}
