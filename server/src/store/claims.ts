// Claiming: one statement decides who runs a step. It leases ready steps to the agent sessions that this server holds.
import { limits } from '@opsconductor/protocol';
import type { Sql } from './connection.ts';
import { type LeaseDetails, leaseDetailColumns, leaseDetailJoins } from './lease-details.ts';

export interface ClaimedStep {
  id: number;
  epoch: number;
  leaseToken: string;
  jobRunId: number;
  targetRunId: number;
  segmentId: number;
  stepNumber: number;
  stepType: string;
  agentId: number;
  sessionNumber: number;
  /** `YYYY-MM-DD`, the partition of this attempt's output. */
  attemptDay: string;
  /** What its lease needs beside, where that came along. */
  details?: LeaseDetails;
}

export interface Claim {
  steps: ClaimedStep[];
  /** Free slots are left over in every segment, so no ready step was left for want of one. */
  tookAll: boolean;
}

/** Added to a step's own budget before the server calls its attempt unknown, in seconds. */
export const attemptSlackS = Math.ceil(limits.leaseTtlMs / 1000) + 30;

/**
 * Leases ready steps to this server's agents, up to their free slots, oldest run first. Credit is counted in SQL
 * from live leases. Locked steps are skipped. It waits only for an agent that is just opening a newer session, and
 * then leases it nothing: what a newer session's resume doesn't find must not be leased afterwards.
 */
export async function claimSteps(sql: Sql, serverId: string): Promise<Claim> {
  const rows = await sql<ClaimRow[]>`
    with credit as materialized (
      select s.agent_id, s.session_number, a.segment_id,
        least(${limits.maxClaimBatch}, s.slots - (
          select count(*) from job_run_steps l where l.agent_id = s.agent_id and l.status = 'running'
        ))::int as free
      from agent_sessions s
      join agents a on a.id = s.agent_id and a.session_number = s.session_number and a.state = 'active'
      join segments g on g.id = a.segment_id
      where s.server_id = ${serverId} and s.ready and not s.draining and s.disconnected_at is null
        and s.expires_at > clock_timestamp()
        and exists (
          select from segment_key_wraps w
          where w.agent_id = a.id and w.generation = g.key_generation and w.opened_at is not null)
    ), slots as (
      select segment_id, agent_id, session_number,
        row_number() over (partition by segment_id order by n, agent_id) as place
      from credit cross join lateral generate_series(1, free) as n
    ), demand as materialized (
      select segment_id, least(sum(greatest(free, 0)), ${limits.maxClaimBatch})::int as total
      from credit group by segment_id
    ), picked as materialized (
      select demand.segment_id, ready.id
      from demand cross join lateral (
        select st.id from job_run_steps st
        where st.segment_id = demand.segment_id and st.status = 'ready'
        order by st.job_run_id, st.id
        limit demand.total
        for update of st skip locked
      ) ready
    ), paired as materialized (
      select p.id, slots.agent_id, slots.session_number
      from (select id, segment_id, row_number() over (partition by segment_id order by id) as place from picked) p
      join slots using (segment_id, place)
    ), fenced as materialized (
      select a.id, a.session_number from agents a
      join (select distinct agent_id, session_number from paired) p
        on p.agent_id = a.id and p.session_number = a.session_number
      for share of a
    ), leased as (
      update job_run_steps st set
        status = 'running', epoch = st.epoch + 1, lease_token = replace(gen_random_uuid()::text, '-', ''),
        agent_id = paired.agent_id, session_number = paired.session_number,
        leased_at = clock_timestamp(), started_at = null, cancel_sent_at = null,
        attempt_day = (clock_timestamp() at time zone 'UTC')::date,
        deadline_at = clock_timestamp() + make_interval(secs => st.time_budget_s + ${attemptSlackS}),
        output_state = 'open', output_seq = 0, output_bytes = 0
      from paired join fenced on fenced.id = paired.agent_id and fenced.session_number = paired.session_number
      where st.id = paired.id
      returning st.id, st.epoch, st.lease_token, st.job_run_id, st.target_run_id, st.segment_id, st.step_number,
        st.step_type, st.agent_id, st.session_number, st.attempt_day
    )
    select demand.segment_id as of_segment_id, demand.total as free, st.id, st.epoch, st.lease_token, st.job_run_id,
      st.target_run_id, st.segment_id, st.step_number, st.step_type, st.agent_id, st.session_number,
      st.attempt_day::text as attempt_day, ${leaseDetailColumns(sql)}
    from demand left join (leased st ${leaseDetailJoins(sql)}) on st.segment_id = demand.segment_id
    order by st.id`;
  const leased = rows.filter((row) => row.id !== null);
  const left = new Map(rows.map((row) => [row.ofSegmentId, row.free]));
  for (const { segmentId } of leased) left.set(segmentId, (left.get(segmentId) ?? 0) - 1);
  return { steps: leased.map(claimedStep), tookAll: [...left.values()].every((free) => free > 0) };
}

type ClaimRow = ClaimedStep & LeaseDetails & { ofSegmentId: number; free: number };

function claimedStep({ ofSegmentId: _, free: __, ...row }: ClaimRow): ClaimedStep {
  const { stepId, jobId, jobVersion, targetId, targetName, host, port, hostKeys, ...lease } = row;
  const { settings, askedCredential, credentialId, credentialVersion, credentialKind, ...step } = lease;
  const target = { targetId, targetName, host, port, settings, hostKeys };
  const credential = { askedCredential, credentialId, credentialVersion, credentialKind };
  const { stepNumber } = step;
  return { ...step, details: { stepId, jobId, jobVersion, stepNumber, ...target, ...credential } };
}
