// Attempts whose command continues without its agent, and which of them wait for another agent to take them over.
import { limits } from '@opsconductor/protocol';
import type { Queryable, Sql } from '../../database/connection.ts';
import { isRefused } from '../../database/refused-statement.ts';
import { isAble } from '../claims/agent-slots.ts';
import type { ClaimedStep } from '../claims/claims.ts';
import { stepIdsOf } from './step-attempts.ts';

type AttemptRef = { stepId: number; epoch: number };
/**
 * An attempt with the session that held it when this was read. The lease token stays the same when another agent takes
 * over.
 */
type HeldAttempt = AttemptRef & { agentId: number; sessionNumber: number };

/**
 * Records that these attempts continue without their agents, as the agents said. An agent that says so holds the
 * attempt, so it no longer waits for another one.
 */
export async function noteDetached(db: Queryable, attempts: readonly AttemptRef[]): Promise<void> {
  if (attempts.length === 0) return;
  await db`
    insert into detached_attempts (job_run_step_id, epoch)
    select st.id, c.epoch
    from jsonb_to_recordset(${db.json(attempts as never)}::jsonb) as c("stepId" bigint, epoch integer)
    join job_run_steps st on st.id = c."stepId" and st.epoch = c.epoch and st.id = any(${stepIdsOf(attempts)}::bigint[])
    on conflict (job_run_step_id, epoch) do update set orphaned_at = null
      where detached_attempts.orphaned_at is not null`;
}

/** Records that these attempts end with their agents after all. Only the session that holds an attempt may say so. */
export async function forgetDetached(db: Queryable, attempts: readonly HeldAttempt[]): Promise<void> {
  if (attempts.length === 0) return;
  await db`
    delete from detached_attempts d
    using jsonb_to_recordset(${db.json(attempts as never)}::jsonb) as c(
      "stepId" bigint, epoch integer, "agentId" bigint, "sessionNumber" bigint)
    join job_run_steps st on st.id = c."stepId" and st.epoch = c.epoch and st.agent_id = c."agentId"
      and st.session_number = c."sessionNumber"
    where d.job_run_step_id = st.id and d.epoch = st.epoch and st.id = any(${stepIdsOf(attempts)}::bigint[])`;
}

/**
 * Makes live attempts among these wait for another agent, if one may come; from then on no session holds them. Attempts
 * that another session holds by now are left alone.
 *
 * @param expected whether to wait even if no agent that could take them over is connected now.
 * @returns the steps whose attempts wait now, including those that waited already.
 */
export async function orphanAttempts(
  db: Queryable,
  attempts: readonly (HeldAttempt & { leaseToken: string })[],
  { expected }: { expected: boolean },
): Promise<Set<number>> {
  if (attempts.length === 0) return new Set();
  const mayCome = expected
    ? db`true`
    : db`exists (select from agents a join agent_sessions s on s.agent_id = a.id join segments g on g.id = a.segment_id
        where a.segment_id = st.segment_id and 'take_over' = any(s.capabilities)
          and (st.needs is null or st.needs <@ s.capabilities) and ${isAble(db)})`;
  const rows = await db<{ id: number }[]>`
    with live as materialized (
      select st.id, st.epoch, st.segment_id, st.needs, st.session_number
      from jsonb_to_recordset(${db.json(attempts as never)}::jsonb) as c(
        "stepId" bigint, epoch integer, "leaseToken" text, "agentId" bigint, "sessionNumber" bigint)
      join job_run_steps st on st.id = c."stepId" and st.epoch = c.epoch and st.lease_token = c."leaseToken"
        and st.agent_id = c."agentId" and st.session_number in (c."sessionNumber", 0)
        and st.id = any(${stepIdsOf(attempts)}::bigint[])
      where st.status = 'running'
        and exists (select from detached_attempts d where d.job_run_step_id = st.id and d.epoch = st.epoch offset 0)
      -- Before what is known of their commands, as whoever takes one over locks them.
      order by st.id for update of st
    ), waiting as materialized (
      select d.job_run_step_id as id, d.epoch, d.orphaned_at, st.session_number
      from live st join detached_attempts d on d.job_run_step_id = st.id and d.epoch = st.epoch
      where d.collector < ${limits.maxTakeOvers} and ${mayCome}
        and coalesce(d.orphaned_at, clock_timestamp())
          > clock_timestamp() - ${limits.takeOverWithinMs} * interval '1 millisecond'
      for update of d
    ), noted as (
      update detached_attempts d set orphaned_at = clock_timestamp()
      from waiting where d.job_run_step_id = waiting.id and d.epoch = waiting.epoch and waiting.orphaned_at is null
    ), held_by_none as (
      update job_run_steps st set session_number = 0
      from waiting where st.id = waiting.id and waiting.session_number <> 0
    )
    select id from waiting`;
  return new Set(rows.map(({ id }) => id));
}

/**
 * As `orphanAttempts`, but if the database refuses to have one wait, the others wait all the same.
 *
 * @returns the steps whose attempts wait now, and those that the database refuses.
 */
export async function orphanEach(
  sql: Sql,
  attempts: readonly (HeldAttempt & { leaseToken: string })[],
  options: { expected: boolean },
): Promise<{ waiting: Set<number>; refused: Set<number> }> {
  const [first] = attempts;
  try {
    return { waiting: await orphanAttempts(sql, attempts, options), refused: new Set() };
  } catch (error) {
    if (first === undefined || !isRefused(error)) throw error;
    if (attempts.length === 1) return { waiting: new Set(), refused: new Set([first.stepId]) };
  }
  const all = { waiting: new Set<number>(), refused: new Set<number>() };
  for (const attempt of attempts) {
    const { waiting, refused } = await orphanEach(sql, [attempt], options);
    for (const id of waiting) all.waiting.add(id);
    for (const id of refused) all.refused.add(id);
  }
  return all;
}

/** Returns the live ones that sessions of this server hold. */
export async function detachedOfServer(
  db: Queryable,
  serverId: string,
): Promise<(HeldAttempt & { leaseToken: string })[]> {
  return db<(HeldAttempt & { leaseToken: string })[]>`
    select st.id as step_id, st.epoch, st.lease_token, st.agent_id, st.session_number
    from detached_attempts d
    join job_run_steps st on st.id = d.job_run_step_id and st.epoch = d.epoch and st.status = 'running'
    join agent_sessions s on s.agent_id = st.agent_id and s.session_number = st.session_number
    where s.server_id = ${serverId} and d.orphaned_at is null order by st.id`;
}

/** Returns live attempts that nobody has taken over in time. */
export async function lostOrphans(
  db: Queryable,
): Promise<(HeldAttempt & { leaseToken: string; agentName: string })[]> {
  return db<(HeldAttempt & { leaseToken: string; agentName: string })[]>`
    select st.id as step_id, st.epoch, st.lease_token, st.agent_id, st.session_number, a.name as agent_name
    from detached_attempts d
    join job_run_steps st on st.id = d.job_run_step_id and st.epoch = d.epoch and st.status = 'running'
    join agents a on a.id = st.agent_id
    where d.orphaned_at < clock_timestamp() - ${limits.takeOverWithinMs} * interval '1 millisecond'
    order by st.id limit 500`;
}

/** Stops attempts that ended while they waited from waiting any longer. */
export async function forgetEndedOrphans(db: Queryable): Promise<void> {
  await db`
    update detached_attempts d set orphaned_at = null
    where d.orphaned_at is not null and not exists (select from job_run_steps st
      where st.id = d.job_run_step_id and st.epoch = d.epoch and st.status = 'running')`;
}

export interface TakenOverStep extends ClaimedStep {
  agentName: string;
  collector: number;
  begunMsAgo: number;
}

/**
 * Gives waiting attempts to sessions held by this server, of agents that can take them over, the least busy ones first.
 * Slots do not count, because what is taken over is already running. An attempt whose own agent is back is left alone,
 * even if a server of the previous version has marked it as waiting.
 *
 * @param only the steps whose attempts may be given; all by default.
 */
export async function takeOverOrphans(
  sql: Sql,
  serverId: string,
  limit: number,
  only?: readonly number[],
): Promise<TakenOverStep[]> {
  return sql<TakenOverStep[]>`
    with ${takers(sql, serverId)}, orphan as materialized (
      select st.id, st.segment_id, st.needs ${fromWaiting(sql)}
        ${only === undefined ? sql`` : sql`and st.id = any(${only as number[]}::bigint[])`}
      order by d.orphaned_at limit ${limit} for update of st skip locked
    ), dealt as (
      select distinct on (orphan.id) orphan.id, taker.id as agent_id, taker.session_number, taker.name
      from (select *, row_number() over (partition by segment_id order by id) as place from orphan) orphan
      join taker on taker.segment_id = orphan.segment_id
        and (orphan.needs is null or orphan.needs <@ taker.capabilities)
      -- Round robin: the agent whose turn it is, or the next capable one.
      order by orphan.id, (taker.place - 1 - (orphan.place - 1) % taker.takers + taker.takers) % taker.takers
    ), fenced as materialized (
      -- Waits for nobody, as the steps are locked already: a resume locks its agent first, and then steps.
      select a.id, a.session_number from agents a
      where a.id in (select agent_id from dealt) and a.state = 'active' for share of a skip locked
    ), taken as (
      update job_run_steps st set agent_id = dealt.agent_id, session_number = dealt.session_number
      from dealt join fenced on fenced.id = dealt.agent_id and fenced.session_number = dealt.session_number
      where st.id = dealt.id
      returning st.*, dealt.name as agent_name
    ), raised as (
      update detached_attempts d set collector = d.collector + 1, orphaned_at = null
      from taken where d.job_run_step_id = taken.id and d.epoch = taken.epoch
      returning d.job_run_step_id as id, d.collector
    )
    select taken.id, taken.epoch, taken.lease_token, taken.job_run_id, taken.target_run_id, taken.segment_id,
      taken.step_number, taken.step_type, taken.agent_id, taken.session_number,
      taken.attempt_day::text as attempt_day, taken.agent_name, raised.collector,
      greatest(0, extract(epoch from clock_timestamp() - coalesce(taken.started_at, taken.leased_at)) * 1000)::bigint
        as begun_ms_ago
    from taken join raised on raised.id = taken.id order by taken.id`;
}

/** Returns the steps of up to so many attempts that `takeOverOrphans` would give out, in its order. */
export async function orphansToGive(sql: Sql, serverId: string, limit: number): Promise<number[]> {
  const rows = await sql<{ id: number }[]>`
    with ${takers(sql, serverId)}
    select st.id ${fromWaiting(sql)} order by d.orphaned_at limit ${limit}`;
  return rows.map(({ id }) => id);
}

/** The agents that can take over commands (`taker`), if any waits. */
function takers(db: Queryable, serverId: string) {
  return db`taker as materialized (
      select a.id, a.name, a.segment_id, s.session_number, s.capabilities,
        row_number() over (partition by a.segment_id order by (
          select count(distinct l.target_run_id) from job_run_steps l
          where l.agent_id = a.id and l.status = 'running'), a.id) as place,
        count(*) over (partition by a.segment_id) as takers
      from agent_sessions s join agents a on a.id = s.agent_id join segments g on g.id = a.segment_id
      where s.server_id = ${serverId} and 'take_over' = any(s.capabilities) and ${isAble(db)}
        and exists (select from detached_attempts d where d.orphaned_at is not null)
    )`;
}

/** The attempts `d` of steps `st` that wait, and for which there is a `taker`. */
function fromWaiting(db: Queryable) {
  return db`from detached_attempts d
      join job_run_steps st on st.id = d.job_run_step_id and st.epoch = d.epoch and st.status = 'running'
      where d.orphaned_at is not null and exists (select from taker where taker.segment_id = st.segment_id
          and (st.needs is null or st.needs <@ taker.capabilities))
        and not exists (select from agent_sessions s where s.agent_id = st.agent_id
          and s.session_number = st.session_number and s.disconnected_at is null and s.expires_at > clock_timestamp())`;
}

/** Returns those of these attempts that an agent other than this one holds, or held last. */
export async function takenByOthers(
  db: Queryable,
  agentId: number,
  attempts: readonly { step: number; epoch: number; leaseToken: string }[],
): Promise<Set<string>> {
  if (attempts.length === 0) return new Set();
  // Also given outside the joins, so that the primary key is used however many rows the planner expects.
  const stepIds = attempts.map(({ step }) => step);
  const rows = await db<{ stepId: number; epoch: number }[]>`
    with given as (
      select * from jsonb_to_recordset(${db.json(attempts as never)}::jsonb) as c(
        step bigint, epoch integer, "leaseToken" text)
    )
    select st.id as step_id, st.epoch from given c
    join job_run_steps st on st.id = c.step and st.epoch = c.epoch and st.lease_token = c."leaseToken"
      and st.id = any(${stepIds}::bigint[])
    where st.agent_id <> ${agentId}
    union all
    select a.job_run_step_id, a.epoch from given c
    join job_run_step_attempts a on a.job_run_step_id = c.step and a.epoch = c.epoch
      and a.lease_token = c."leaseToken" and a.job_run_step_id = any(${stepIds}::bigint[])
    where a.agent_id <> ${agentId}`;
  return new Set(rows.map(({ stepId, epoch }) => `${stepId}.${epoch}`));
}
