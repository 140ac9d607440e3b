// What the steps of a run wait for, grouped, and what a claim would find in its segments. The conditions are those of
// a claim, so that what is shown is what decides.
import type { Reach } from '../../../auth/authority.ts';
import type { Queryable } from '../../database/connection.ts';
import { segmentWithin, targetRunWithin } from '../../people/visibility.ts';
import { isAble } from '../claims/agent-slots.ts';
import { idlePlaces, waitsUntil } from './wait-bounds.ts';

export type WaitKind =
  | 'ready'
  | 'lock'
  | 'retry'
  | 'decision'
  | 'unopened'
  | 'leased'
  | 'agent_unheard'
  | 'target_silent'
  | 'stopping';

export interface WaitingRow {
  kind: WaitKind;
  segmentId: number;
  segmentName: string;
  /** Whether the caller may read the segment, and so learn about its agents. */
  segmentSeen: boolean;
  agentName: string | null;
  lockName: string | null;
  lockScope: 'installation' | 'segment' | 'target';
  /** For ready steps: what an agent must be capable of; `null` for nothing. */
  needs: string[] | null;
  since: Date | null;
  until: Date | null;
  targets: number;
  examples: { targetRunId: number; targetName: string }[];
}

const examples = 5;
/** A host that does not answer says so on its own page, too. */
const silentExamples = 50;

/**
 * Returns target runs within the reaches that wait, grouped by what they wait for and where. A step that has begun does
 * not wait, unless its agent is not heard from, its target does not answer that agent, or the step is being stopped.
 * Open steps are read, not ended ones, because this is repeated every few seconds while somebody looks at the run.
 *
 * @param options.ends for a run that has begun: also say until when ready steps wait in segments where nothing of the
 *   run is going on. Only for this are ended steps read, those of such segments.
 */
export async function listWaiting(
  db: Queryable,
  runId: number,
  reaches: readonly Reach[],
  { ends }: { ends: boolean },
): Promise<WaitingRow[]> {
  const columns = db`st.id, st.epoch, st.target_run_id, st.segment_id, st.status, st.agent_id, st.not_before, st.waits_lock, st.waits_since,
    st.needs, st.is_clean_up, st.leased_at, st.started_at, st.deadline_at, st.held_until`;
  // One select for each status, by its own index; a single one for several would read all steps of the run.
  const inSegments = (status: 'ready' | 'running') => db`
    from (select distinct segment_id from seen) place
    join job_run_steps st on st.segment_id = place.segment_id and st.job_run_id = ${runId}
      and st.status = ${db.unsafe(`'${status}'`)}`;
  const isSeen = db`tr.job_run_id = ${runId} and tr.status in ('queued', 'running', 'cancelling', 'held')
    and ${targetRunWithin(db, reaches)}`;
  return db<WaitingRow[]>`
    with seen as materialized (
      select tr.id, tr.segment_id, tr.target_name, tr.is_open
      from job_run_targets tr join job_runs r on r.id = tr.job_run_id join jobs j on j.id = r.job_id
      where ${isSeen}
    ), open_steps as materialized (
      select ${columns} ${inSegments('ready')}
      union all (
        -- Those that were leased ahead of their turn wait for this one, which may have begun.
        select distinct on (st.target_run_id) ${columns} ${inSegments('running')}
        order by st.target_run_id, st.step_number)
      union all select ${columns} from job_run_steps st where st.job_run_id = ${runId} and st.status = 'held'
    )${ends ? db`, places as materialized (${idlePlaces(db, runId)})` : db``}, waiting as (
      select seen.id, seen.segment_id, seen.target_name, 'unopened' as kind, null as agent_name, null as lock_key,
        null::text[] as needs, null::timestamptz as since, null::timestamptz as until
      from seen where not seen.is_open
      union all
      select seen.id, seen.segment_id, seen.target_name,
        case when st.status = 'held' then 'decision'
          when st.status = 'running' and seen.is_cancelling and not st.is_clean_up then 'stopping'
          when st.status = 'running' and not heard.ok then 'agent_unheard'
          when st.status = 'running' and silent.since is not null then 'target_silent'
          when st.status = 'running' then 'leased'
          when st.not_before > clock_timestamp() and st.waits_lock is not null then 'lock'
          when st.not_before > clock_timestamp() then 'retry'
          else 'ready' end,
        case when st.status in ('running', 'held') then a.name end,
        case when st.status = 'ready' and st.not_before > clock_timestamp() then st.waits_lock end,
        case when st.status = 'ready' and (st.not_before is null or st.not_before <= clock_timestamp()) then st.needs end,
        case when st.status = 'running' and seen.is_cancelling and not st.is_clean_up
            then seen.cancel_requested_at
          when st.status = 'running' and not heard.ok then s.last_heartbeat_at
          when st.status = 'running' and silent.since is not null then silent.since
          when st.status = 'running' then st.leased_at
          when st.status = 'held' then (select t.settled_at from job_run_step_attempts t
            where t.job_run_step_id = st.id and t.epoch = st.epoch) end,
        case when st.status = 'held' then st.held_until
          when st.status = 'running' and not heard.ok
            then least(st.deadline_at, s.last_heartbeat_at + make_interval(secs => ag.unknown_after_s))
          when st.status = 'running' and silent.since is not null then least(st.deadline_at, silent.until)
          when st.status = 'running' then st.deadline_at
          when st.not_before > clock_timestamp() and st.waits_lock is null then st.not_before
          ${ends ? db`when place.segment_id is not null then ${waitsUntil(db)}` : db``} end
      from open_steps st
      join job_runs r on r.id = ${runId}
      join jobs j on j.id = r.job_id
      -- Looked up: the database takes runs for small ones, and went through all target runs of a large one for each step.
      cross join lateral (
        select tr.id, tr.segment_id, tr.target_name,
          r.status = 'cancelling' or tr.cancel_requested_at is not null as is_cancelling,
          coalesce(tr.cancel_requested_at, r.cancel_requested_at) as cancel_requested_at
        from job_run_targets tr where tr.id = st.target_run_id and ${isSeen} offset 0) seen
      ${ends ? db`left join places place on place.segment_id = st.segment_id` : db``}
      left join agents a on a.id = st.agent_id
      left join segments ag on ag.id = a.segment_id
      left join agent_sessions s on s.agent_id = st.agent_id
      left join silent_targets silent on silent.job_run_step_id = st.id and silent.epoch = st.epoch
        and silent.agent_id = st.agent_id and st.started_at is not null
      cross join lateral (select coalesce(
        s.disconnected_at is null and s.expires_at > clock_timestamp(), false) as ok) heard
      where st.status <> 'running' or st.started_at is null or not heard.ok or silent.since is not null
        or (seen.is_cancelling and not st.is_clean_up)
    )
    select w.kind, w.segment_id, g.name as segment_name, ${segmentWithin(db, reaches, 'g.id')} as segment_seen,
      w.agent_name, split_part(w.lock_key, '@', 1) as lock_name,
      case when w.lock_key like '%@target:%' then 'target' when w.lock_key like '%@segment:%' then 'segment'
        else 'installation' end as lock_scope, w.needs,
      min(w.since) as since, min(w.until) as until, count(distinct w.id)::int as targets,
      to_jsonb((array_agg(jsonb_build_object('targetRunId', w.id, 'targetName', w.target_name) order by w.id))
        [1:case w.kind when 'target_silent' then ${db.unsafe(String(silentExamples))}
          else ${db.unsafe(String(examples))} end]) as examples
    from waiting w join segments g on g.id = w.segment_id
    group by 1, 2, 3, g.id, 5, 6, 7, 8
    order by targets desc, w.kind, g.name, w.agent_name, lock_name, lock_scope, w.needs`;
}

const agentStates = [
  'able',
  'busy',
  'draining',
  'no_segment_key',
  'starting',
  'silent',
  'offline',
  'disabled',
] as const;

export interface SegmentAgentsRow {
  segmentId: number;
  state: (typeof agentStates)[number];
  agents: number;
  slots: number;
  freeSlots: number;
  /** For able agents: their capabilities. */
  capabilities: string[] | null;
  /** When the last of them was heard from, or began to drain. */
  since: Date | null;
}

/**
 * Returns the agents of these segments by what a claim makes of them, able ones also by their capabilities. Revoked
 * agents are left out.
 */
export async function segmentAgents(
  db: Queryable,
  segmentIds: readonly number[],
): Promise<SegmentAgentsRow[]> {
  return db<SegmentAgentsRow[]>`
    select f.segment_id, f.state, f.capabilities, count(*)::int as agents, sum(f.slots)::int as slots,
      sum(greatest(0, f.slots - f.busy))::int as free_slots, max(f.since) as since
    from (
      select a.segment_id, coalesce(s.slots, 0) as slots,
        (select count(distinct l.target_run_id) from job_run_steps l
          where l.agent_id = a.id and l.status = 'running') as busy, state.state,
        case when state.state = 'able' then s.capabilities end as capabilities,
        case when state.state = 'draining' then a.drain_requested_at
          when state.state = 'silent' then s.last_heartbeat_at
          when state.state = 'offline' then coalesce(s.disconnected_at, s.last_heartbeat_at) end as since
      from agents a
      join segments g on g.id = a.segment_id
      left join agent_sessions s on s.agent_id = a.id
      cross join lateral (select case
        when a.state <> 'active' then 'disabled'
        when ${isAble(db)} then case when s.busy_reason is null then 'able' else 'busy' end
        when s.disconnected_at is null and s.expires_at > clock_timestamp() then case
          when a.drain_requested_at is not null or s.draining then 'draining'
          when s.ready then 'no_segment_key' else 'starting' end
        when s.clean_shutdown is false
          and s.last_heartbeat_at + make_interval(secs => g.unknown_after_s) > clock_timestamp() then 'silent'
        else 'offline' end as state) state
      where a.segment_id = any(${segmentIds as number[]}::bigint[]) and a.state <> 'revoked'
    ) f group by f.segment_id, f.state, f.capabilities`;
}

/** Returns those of these segments with ready steps that go before steps of the given priority. */
export async function segmentsBefore(
  db: Queryable,
  segmentIds: readonly number[],
  priority: number,
): Promise<number[]> {
  const rows = await db<{ id: number }[]>`
    select g.id from unnest(${segmentIds as number[]}::bigint[]) g(id)
    where exists (select from job_run_steps st where st.segment_id = g.id and st.status = 'ready'
      and st.not_before is null and st.claim_rank < ${-priority})`;
  return rows.map((row) => row.id);
}

/**
 * Returns runs of a higher priority with ready steps in the segment, on target runs within the reaches, the highest
 * priority first.
 */
export async function runsBefore(
  db: Queryable,
  segmentId: number,
  priority: number,
  reaches: readonly Reach[],
): Promise<number[]> {
  const rows = await db<{ id: number }[]>`
    select r.id from job_runs r join jobs j on j.id = r.job_id
    where r.status in ('queued', 'running', 'cancelling', 'held') and r.priority > ${priority} and exists (
      select from job_run_steps st join job_run_targets tr on tr.id = st.target_run_id
      where st.segment_id = ${segmentId} and st.status = 'ready' and st.not_before is null
        and st.claim_rank = -r.priority and st.job_run_id = r.id and ${targetRunWithin(db, reaches)})
    order by r.priority desc, r.id limit 10`;
  return rows.map((row) => row.id);
}

export interface LockHolderRow {
  lockName: string;
  lockScope: WaitingRow['lockScope'];
  segmentId: number;
  /** `null` if the caller may not see the target run that holds it. */
  runId: number | null;
  takenAt: Date | null;
}

/** Returns who holds the locks that the run's visible steps wait for: a row for each lock, segment and run. */
export async function lockHolders(
  db: Queryable,
  runId: number,
  reaches: readonly Reach[],
): Promise<LockHolderRow[]> {
  return db<LockHolderRow[]>`
    with wanted as materialized (
      select distinct st.waits_lock as lock_key, st.segment_id
      from job_run_steps st join job_run_targets tr on tr.id = st.target_run_id
      join job_runs r on r.id = st.job_run_id join jobs j on j.id = r.job_id
      where st.job_run_id = ${runId} and st.status = 'ready' and st.waits_lock is not null
        and ${targetRunWithin(db, reaches)}
    )
    select split_part(wanted.lock_key, '@', 1) as lock_name,
      case when wanted.lock_key like '%@target:%' then 'target' when wanted.lock_key like '%@segment:%' then 'segment'
        else 'installation' end as lock_scope,
      wanted.segment_id, case when seen.ok then r.id end as run_id,
      min(case when seen.ok then h.taken_at end) as taken_at
    from wanted
    join lock_slots h on h.lock_key = wanted.lock_key
    join job_run_targets tr on tr.id = h.target_run_id
    join job_runs r on r.id = tr.job_run_id
    join jobs j on j.id = r.job_id
    cross join lateral (select coalesce(${targetRunWithin(db, reaches)}, false) as ok) seen
    group by 1, 2, 3, 4 order by 4`;
}

/**
 * Returns the database's time and the times of the whole run. Whether it still waits to begin is decided as the sweep
 * decides it.
 */
export async function runTimes(
  db: Queryable,
  runId: number,
): Promise<{ at: Date; startBy: Date | null; timeoutAt: Date | null }> {
  const [row] = await db<{ at: Date; startBy: Date | null; timeoutAt: Date | null }[]>`
    select clock_timestamp() as at, r.started_at + make_interval(secs => r.timeout_s) as timeout_at,
      case when r.completed_steps = 0
        and not exists (select from job_run_steps s where s.job_run_id = r.id and s.status = 'running')
        and not exists (select from job_run_steps s where s.job_run_id = r.id and s.status = 'held')
        then r.start_by end as start_by
    from job_runs r where r.id = ${runId}`;
  if (row === undefined) throw new Error(`run ${runId} is gone`);
  return row;
}
