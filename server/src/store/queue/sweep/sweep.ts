// What the sweep looks for, by the database's clock.
import { limits } from '@opsconductor/protocol';
import { deleteOldAsks } from '../../agents/agent-asks.ts';
import type { Queryable, Sql, Tx } from '../../database/connection.ts';
import type { Condition } from '../../people/visibility.ts';
import { isTargetRunCancelled, targetRunCancelledAt } from '../attempts/step-attempts.ts';
import { writeRows } from './write-apart.ts';

const clockLock = 0x0_95c0_5d;
/**
 * A step leased within this many seconds may not have been sent yet; if the agent is gone, its server takes the lease
 * back.
 */
const untoldS = 5;

/**
 * Touches the cluster's clock and returns the seconds since any server last touched it. Returns `undefined` if another
 * server is doing it now, or did it within `unlessWithinS`. A last touch in the future means that the clock was set
 * back; it is touched again at once, because waiting for that time would leave everything unswept until then.
 */
export async function touchClusterClock(tx: Tx, unlessWithinS = 0): Promise<number | undefined> {
  const [lock] = await tx<{ got: boolean }[]>`select pg_try_advisory_xact_lock(${clockLock}) as got`;
  if (lock?.got !== true) return undefined;
  const [row] = await tx<{ gapS: number }[]>`
    with old as (select touched_at from cluster_clock for update)
    update cluster_clock set touched_at = clock_timestamp(),
      leapt_at = case when ${leapt(tx, 'old')} then clock_timestamp() else leapt_at end
    from old
    where old.touched_at not between clock_timestamp() - make_interval(secs => ${unlessWithinS}) and clock_timestamp()
    returning extract(epoch from clock_timestamp() - old.touched_at)::float8 as gap_s`;
  return row?.gapS;
}

/**
 * SQL condition: the clock was not touched for more than a day. Either no server was running, or the clock is ahead.
 */
function leapt(db: Queryable, table: string) {
  return db`clock_timestamp() - ${db(table)}.touched_at > interval '1 day'`;
}

export const leaptMessage =
  'the clock of the database jumped ahead by more than a day, because it is wrong or no server was running';

export interface RemovalClock {
  now: Date;
  /** The clock jumped within the last day. Anything removed by a clock that is ahead is lost. */
  mayBeAhead: boolean;
}

/** Returns the time by which old data is removed: the database's. */
export async function removalClock(db: Queryable): Promise<RemovalClock> {
  const [row] = await db<[RemovalClock]>`
    select clock_timestamp() as now, ${leapt(db, 'cluster_clock')} or coalesce(
      clock_timestamp() between leapt_at and leapt_at + interval '1 day', false) as may_be_ahead
    from cluster_clock`;
  return row;
}

/**
 * Gives live leases back the time in which servers or database were down, because nobody could renew or report then.
 * What began within the gap, for example a session opened before the first sweep, gets no more than the time since it
 * began. Returns how many attempts were extended.
 *
 * @param apart leaves out what the database refuses to write.
 */
export async function extendLeases(tx: Tx, seconds: number, apart = false): Promise<number> {
  const gap = tx`make_interval(secs => ${seconds})`;
  await lockRows(tx, 'job_runs', 'id', tx`select id from job_runs where ${isOpen(tx)}`);
  await lockRows(
    tx,
    ...steps,
    tx`select id from job_run_steps where status = 'running'
      union all select id from job_run_steps where status = 'held'`,
  );
  const running = tx`select distinct agent_id from job_run_steps where status = 'running'`;
  await lockRows(tx, ...sessions, running);
  await writeRows(
    tx,
    rows(...sessions, tx`agent_id in (${running})`),
    apart,
    (db, where) => db`
      update agent_sessions set
        expires_at = expires_at + least(${gap}, clock_timestamp() - last_heartbeat_at),
        last_heartbeat_at = last_heartbeat_at + least(${gap}, clock_timestamp() - last_heartbeat_at)
      where ${where}`,
  );
  const count = await writeRows(
    tx,
    rows(...steps, tx`status = 'running'`),
    apart,
    (db, where) => db`
      update job_run_steps set deadline_at = deadline_at + least(${gap}, clock_timestamp() - leased_at)
      where ${where}`,
  );
  await writeRows(
    tx,
    rows(...steps, tx`job_run_steps.status = 'held'`),
    apart,
    (db, where) => db`
      update job_run_steps set held_until = held_until + least(${gap}, clock_timestamp() - a.settled_at)
      from job_run_step_attempts a
      where ${where} and a.job_run_step_id = job_run_steps.id and a.epoch = job_run_steps.epoch`,
  );
  await writeRows(
    tx,
    rows('job_runs', 'id', isOpen(tx)),
    apart,
    (db, where) => db`
      update job_runs set start_by = start_by + least(${gap}, clock_timestamp() - created_at) where ${where}`,
  );
  return count;
}

const steps = ['job_run_steps', 'id'] as const;
const sessions = ['agent_sessions', 'agent_id'] as const;

function rows(table: string, key: string, where: Condition) {
  return { table, key, where };
}

function isOpen(tx: Tx): Condition {
  return tx`status in ('queued', 'running', 'held', 'cancelling')`;
}

/** Locks rows in the order in which others lock them, before statements that write them in any order. */
async function lockRows(tx: Tx, table: string, key: string, ids: Condition): Promise<void> {
  await tx`
    select count(*) from (select from ${tx(table)} where ${tx(key)} = any(array(${ids}))
      order by ${tx(key)} for no key update) locked`;
}

/**
 * Handles a clock that was set back: an agent last heard from at a time in the future, by its own heartbeat or because
 * a forward jump gave it that time, counts as heard from now. Otherwise it would not be silent until then, and what it
 * ran would go on without end.
 *
 * @param apart leaves out what the database refuses to write.
 */
export async function endHeartbeatsAhead(tx: Tx, apart = false): Promise<void> {
  const ahead = tx`last_heartbeat_at > clock_timestamp()`;
  await lockRows(tx, ...sessions, tx`select agent_id from agent_sessions where ${ahead}`);
  await writeRows(
    tx,
    rows(...sessions, ahead),
    apart,
    (db, where) => db`
      update agent_sessions set last_heartbeat_at = clock_timestamp(),
        expires_at = clock_timestamp() + (expires_at - last_heartbeat_at)
      where ${where}`,
  );
}

/**
 * Handles a clock that was set back by this much: what began at a time that is in the future now has its time from now,
 * and a step that waits for a retry waits no longer than it would have. Otherwise a clock that was ahead by days would
 * have them go on or wait for as long.
 *
 * @param apart leaves out what the database refuses to write.
 */
export async function endTimesAhead(tx: Tx, seconds: number, apart = false): Promise<void> {
  const begun = tx`status = 'running' and leased_at > clock_timestamp()`;
  const held = tx`job_run_steps.status = 'held'`;
  const isDecidedAhead = tx`
    a.job_run_step_id = job_run_steps.id and a.epoch = job_run_steps.epoch and a.settled_at > clock_timestamp()`;
  const putOff = tx`
    status = 'ready' and (waits_since > clock_timestamp() or not_before > clock_timestamp() and isfinite(not_before))`;
  await lockRows(
    tx,
    ...steps,
    tx`select id from job_run_steps where ${begun}
      union all select job_run_steps.id from job_run_steps, job_run_step_attempts a where ${held} and ${isDecidedAhead}
      union all select id from job_run_steps where ${putOff}`,
  );
  await writeRows(
    tx,
    rows(...steps, begun),
    apart,
    (db, where) => db`
      update job_run_steps set deadline_at = clock_timestamp() + (deadline_at - leased_at) where ${where}`,
  );
  await writeRows(
    tx,
    rows(...steps, held),
    apart,
    (db, where) => db`
      update job_run_steps set held_until = clock_timestamp() + (held_until - a.settled_at)
      from job_run_step_attempts a where ${where} and ${isDecidedAhead}`,
  );
  const earlier = (at: Condition) => tx`
    case when isfinite(${at}) and ${at} > clock_timestamp()
      then greatest(clock_timestamp(), ${at} - make_interval(secs => ${seconds})) else ${at} end`;
  await writeRows(
    tx,
    rows(...steps, putOff),
    apart,
    (db, where) => db`
      update job_run_steps set not_before = ${earlier(tx`not_before`)}, waits_since = ${earlier(tx`waits_since`)}
      where ${where}`,
  );
  await tx`
    update attempt_clean_ups set due_at = ${earlier(tx`due_at`)}, asked_at = least(asked_at, clock_timestamp()),
      told_at = least(told_at, clock_timestamp())
    where done_at is null and greatest(due_at, asked_at, told_at) > clock_timestamp()`;
}

export interface OverdueAttempt {
  stepId: number;
  epoch: number;
  leaseToken: string;
  agentId: number;
  sessionNumber: number;
  agentName: string;
  /** Since when the agent has been silent. */
  lastHeartbeatAt: Date | null;
  cause: 'revoked' | 'silent' | 'deadline' | 'cancel' | 'orphaned';
}

/**
 * Returns attempts that nobody can be expected to report on any more. Those that were leased ahead of their turn end with
 * the one whose turn it is.
 */
export async function overdueAttempts(sql: Sql, cancelGraceS: number): Promise<OverdueAttempt[]> {
  // A revoked agent can never report again. Its connection is given a moment to hand back what it had not begun.
  const isCutOff = sql`(a.state = 'revoked'
    and (st.started_at is not null or st.leased_at < clock_timestamp() - make_interval(secs => ${untoldS}))
    and (s.disconnected_at is not null or s.expires_at < clock_timestamp() or s.agent_id is null))`;
  return sql<OverdueAttempt[]>`
    select st.id as step_id, st.epoch, st.lease_token, st.agent_id, st.session_number, a.name as agent_name,
      s.last_heartbeat_at,
      case when ${isCutOff} then 'revoked'
        when s.last_heartbeat_at < clock_timestamp() - make_interval(secs => g.unknown_after_s) then 'silent'
        when st.deadline_at < clock_timestamp() then 'deadline' else 'cancel' end as cause
    from job_run_steps st
    join agents a on a.id = st.agent_id
    join segments g on g.id = a.segment_id
    join job_runs r on r.id = st.job_run_id
    left join agent_sessions s on s.agent_id = st.agent_id
    where st.status = 'running' and (
      ${isCutOff}
      or s.last_heartbeat_at < clock_timestamp() - make_interval(secs => g.unknown_after_s)
      or st.deadline_at < clock_timestamp()
      or (r.status = 'cancelling' and not st.is_clean_up and s.expires_at < clock_timestamp()
        and r.cancel_requested_at < clock_timestamp() - make_interval(secs => ${cancelGraceS}))
      or (not st.is_clean_up and s.expires_at < clock_timestamp()
        and ${targetRunCancelledAt(sql)} < clock_timestamp() - make_interval(secs => ${cancelGraceS})))
      and not exists (select from job_run_steps earlier
        where earlier.segment_id = st.segment_id and earlier.job_run_id = st.job_run_id
          and earlier.target_run_id = st.target_run_id and earlier.status = 'running'
          and earlier.step_number between st.step_number - ${limits.maxStepsAhead}::int and st.step_number - 1 offset 0)
    -- Those that wait for another agent to take them over (session 0) may stay, and keep no others from being found.
    order by st.session_number = 0, st.id limit 500`;
}

/** Returns held steps that nobody has decided about in time. */
export async function expiredHolds(sql: Sql): Promise<{ stepId: number; jobRunId: number }[]> {
  return sql<{ stepId: number; jobRunId: number }[]>`
    select id as step_id, job_run_id from job_run_steps
    where status = 'held' and held_until < clock_timestamp() order by held_until limit 500`;
}

export interface AttemptToStop {
  stepId: number;
  epoch: number;
  agentId: number;
}

/**
 * Returns what agents should stop of these runs: in runs that are being cancelled, the running steps that are not
 * clean-ups; in runs that were cancelled, attempts that were given up.
 */
export async function attemptsToStop(sql: Sql, runIds: readonly number[]): Promise<AttemptToStop[]> {
  return sql<AttemptToStop[]>`
    select st.id as step_id, st.epoch, st.agent_id from job_run_steps st join job_runs r on r.id = st.job_run_id
    where r.id = any(${runIds as number[]}::bigint[]) and r.status = 'cancelling' and st.status = 'running'
      and not st.is_clean_up
    union all
    select a.job_run_step_id, a.epoch, a.agent_id
    from job_run_step_attempts a join job_runs r on r.id = a.job_run_id
    where a.job_run_id = any(${runIds as number[]}::bigint[]) and r.cancel_requested_at is not null and a.status = 'unknown'
      and a.late_status is null`;
}

/**
 * Returns what agents should stop of these target runs, which were cancelled by themselves: the running steps that are
 * not clean-ups, and attempts that were given up.
 */
export async function attemptsToStopOn(sql: Sql, targetRunIds: readonly number[]): Promise<AttemptToStop[]> {
  return sql<AttemptToStop[]>`
    with st as materialized (
      select st.id, st.epoch, st.agent_id, st.status, st.is_clean_up from job_run_steps st
      where st.target_run_id = any(${targetRunIds as number[]}::bigint[]) and ${isTargetRunCancelled(sql)})
    select st.id as step_id, st.epoch, st.agent_id from st where st.status = 'running' and not st.is_clean_up
    union all
    select a.job_run_step_id, a.epoch, a.agent_id from job_run_step_attempts a
    where a.job_run_step_id = any(array(select id from st)) and a.status = 'unknown' and a.late_status is null`;
}

/**
 * Returns runs none of whose steps began in time. A run whose leases all came back unbegun counts, although it is
 * `running`; one whose steps wait for a retry does not. `offset 0` makes the database look at each run by itself;
 * otherwise it would join all steps with all attempts. Target runs that ended in these ways have begun: the steps of a
 * large run that is under way aren't read.
 */
export async function runsNotStarted(sql: Sql): Promise<number[]> {
  const rows = await sql<{ id: number }[]>`
    select r.id from job_runs r
    where r.status in ('queued', 'running') and r.start_by < clock_timestamp()
      and r.targets_succeeded + r.targets_failed + r.targets_unknown = 0
      and not exists (select from job_run_steps s
        where s.job_run_id = r.id and (${wasLeased(sql)}
          or exists (select from job_run_step_attempts a where a.job_run_step_id = s.id offset 0))
        offset 0)
    order by r.id limit 100`;
  return rows.map((row) => row.id);
}

/**
 * SQL condition: step `s` is leased, or a lease of it was begun. Its status doesn't say so: on hosts that were cancelled
 * by themselves, steps have ended without having begun.
 */
function wasLeased(db: Queryable) {
  return db`s.epoch > s.unbegun`;
}

/** Returns whether no step of the run has begun or is leased. */
export async function isUnstarted(tx: Tx, runId: number): Promise<boolean> {
  const rows = await tx`
    select 1 from job_run_steps s
    where s.job_run_id = ${runId} and (${wasLeased(tx)}
      or exists (select from job_run_step_attempts a where a.job_run_step_id = s.id))
    limit 1`;
  return rows.length === 0;
}

/** Returns what a run waits for: locks, by name, and segments whose agents have no free slot. */
export async function waitedFor(tx: Tx, runId: number): Promise<{ kind: 'lock' | 'slot'; name: string }[]> {
  return tx<{ kind: 'lock' | 'slot'; name: string }[]>`
    select distinct case when s.not_before = 'infinity' then 'lock' else 'slot' end as kind,
      case when s.not_before = 'infinity' then split_part(s.waits_lock, '@', 1) else g.name end as name
    from job_run_steps s join segments g on g.id = s.segment_id
    where s.job_run_id = ${runId} and s.status = 'ready' order by kind desc, name limit 10`;
}

/** Returns cancelling runs with steps on this server's agents, for agents that missed the first message. */
export async function cancellingRuns(sql: Sql, serverId: string): Promise<number[]> {
  const rows = await sql<{ id: number }[]>`
    select distinct r.id from job_runs r
    join job_run_steps st on st.job_run_id = r.id and st.status = 'running' and not st.is_clean_up
    join agent_sessions s on s.agent_id = st.agent_id and s.server_id = ${serverId}
    where r.status = 'cancelling' limit 500`;
  return rows.map((row) => row.id);
}

/** Returns the same for target runs that were cancelled by themselves, in runs that go on. */
export async function cancellingTargetRuns(sql: Sql, serverId: string): Promise<number[]> {
  const rows = await sql<{ id: number }[]>`
    select distinct t.id from job_runs r
    join job_run_targets t on t.job_run_id = r.id and t.cancel_requested_at is not null and t.status = 'cancelling'
    join job_run_steps st on st.target_run_id = t.id and st.status = 'running' and not st.is_clean_up
    join agent_sessions s on s.agent_id = st.agent_id and s.server_id = ${serverId}
    where r.status in ('queued', 'running', 'held') limit 500`;
  return rows.map((row) => row.id);
}

/**
 * Returns target runs that were cancelled by themselves and with which a server of the version before has gone on: it
 * made their next step ready, holds one, or reopened them. On servers of this version there are none.
 */
export async function resumedTargetRuns(sql: Sql): Promise<{ runId: number; targetRunIds: number[] }[]> {
  return sql<{ runId: number; targetRunIds: number[] }[]>`
    select r.id as run_id, array_agg(t.id order by t.id) as target_run_ids from job_runs r
    join job_run_targets t on t.job_run_id = r.id and t.cancel_requested_at is not null
      and t.status in ('queued', 'running', 'cancelling', 'held')
    where r.status in ('queued', 'running', 'held') and (t.status <> 'cancelling' or exists (
        select from job_run_steps st where st.target_run_id = t.id
          and (st.status = 'held' or st.status in ('pending', 'ready') and not st.is_clean_up) offset 0)
      and not exists (
        select from job_run_steps st where st.target_run_id = t.id
          and (st.status = 'running' or st.status = 'ready' and st.is_clean_up) offset 0))
    group by r.id limit 100`;
}

/** Deletes sign-in codes, sessions and questions between servers whose time is over. */
export async function deleteExpired(sql: Sql): Promise<void> {
  await sql`delete from sign_in_codes where expires_at < now()`;
  await sql`delete from sessions where expires_at < now()`;
  await deleteOldAsks(sql);
}
