// Attempts that ended unknown and whose processes may still run on their targets.
import type { CleanUpFinding } from '@opsconductor/protocol';
import type { PendingQuery, Row } from 'postgres';
import type { Queryable, Sql, Tx } from '../../database/connection.ts';
import { stepIdsOf } from './step-attempts.ts';

/**
 * Records attempts to clean up after: at once, or when their deadline has passed. Call it while their steps are still
 * live.
 */
export async function wantCleanUps(
  tx: Tx,
  attempts: readonly { stepId: number; epoch: number; segmentId: number; atOnce: boolean }[],
): Promise<void> {
  if (attempts.length === 0) return;
  await tx`
    insert into attempt_clean_ups (job_run_step_id, epoch, segment_id, due_at)
    select st.id, c.epoch, c."segmentId",
      case when c."atOnce" then clock_timestamp() else coalesce(st.deadline_at, clock_timestamp()) end
    from jsonb_to_recordset(${tx.json(attempts as never)}::jsonb) as c(
      "stepId" bigint, epoch integer, "segmentId" bigint, "atOnce" boolean)
    join job_run_steps st on st.id = c."stepId" and st.id = any(${stepIdsOf(attempts)}::bigint[])
    on conflict do nothing`;
}

/** Makes the clean-ups of these steps due now, because nobody needs what their attempts may still be doing. */
export async function hastenCleanUps(tx: Tx, stepIds: readonly number[]): Promise<void> {
  if (stepIds.length === 0) return;
  await tx`
    update attempt_clean_ups set due_at = least(due_at, clock_timestamp())
    where job_run_step_id = any(${stepIds as number[]}::bigint[]) and done_at is null`;
}

/** Does the same for all attempts of a run. */
export async function hastenCleanUpsOfRun(tx: Tx, runId: number): Promise<void> {
  await tx`
    update attempt_clean_ups c set due_at = least(c.due_at, clock_timestamp())
    from job_run_steps st where st.id = c.job_run_step_id and st.job_run_id = ${runId} and c.done_at is null`;
}

/** Does the same for all attempts of a target run. */
export async function hastenCleanUpsOfTargetRun(tx: Tx, targetRunId: number): Promise<void> {
  await tx`
    update attempt_clean_ups set due_at = least(due_at, clock_timestamp())
    where job_run_step_id = any(array(select id from job_run_steps where target_run_id = ${targetRunId}))
      and done_at is null`;
}

/** Drops a clean-up because the agent has reported how the attempt ended, so nothing of it is still running. */
export async function dropCleanUp(tx: Tx, stepId: number, epoch: number): Promise<void> {
  await tx`
    delete from attempt_clean_ups where job_run_step_id = ${stepId} and epoch = ${epoch} and done_at is null`;
}

/**
 * Selects attempts `a` of an agent that were given up while it was silent and of which nothing was ever heard. Attempts
 * leased before the agent's current journal was begun are left out. Uses the index `job_run_step_attempts_unheard`.
 */
export function unheardOf(sql: Queryable, agentId: number | PendingQuery<Row[]>) {
  return sql`job_run_step_attempts a
    join attempt_clean_ups c on c.job_run_step_id = a.job_run_step_id and c.epoch = a.epoch
    join agents n on n.id = a.agent_id and (n.journal_lost_at is null or a.leased_at > n.journal_lost_at)
    where a.agent_id = ${agentId} and a.status = 'unknown' and a.late_status is null and a.request_id is null
      and a.output_state = 'gapped' and a.output_seq = 0
      and not exists (select from detached_attempts d where d.job_run_step_id = a.job_run_step_id and d.epoch = a.epoch)`;
}

/** Returns the attempts of `unheardOf`, without those whose output arrived after they had been given up. */
export async function unheardAttempts(
  tx: Tx,
  agentId: number,
): Promise<{ stepId: number; epoch: number; leaseToken: string }[]> {
  const given = await tx<{ stepId: number; epoch: number; leaseToken: string }[]>`
    select a.job_run_step_id as step_id, a.epoch, a.lease_token from ${unheardOf(tx, agentId)} order by 1, 2`;
  // Most agents have none and stop here: a query on output locks the partition of every day.
  if (given.length === 0) return given;
  const withOutput = await tx<{ stepId: number; epoch: number }[]>`
    select a.job_run_step_id as step_id, a.epoch from job_run_step_attempts a
    where a.job_run_step_id = any(${given.map(({ stepId }) => stepId)}::bigint[]) and exists (
      select from run_output o where o.attempt_day = a.attempt_day
        and o.job_run_step_id = a.job_run_step_id and o.epoch = a.epoch)`;
  const heard = new Set(withOutput.map(({ stepId, epoch }) => `${stepId}.${epoch}`));
  return given.filter(({ stepId, epoch }) => !heard.has(`${stepId}.${epoch}`));
}

export interface DueCleanUp {
  stepId: number;
  epoch: number;
  /** Not all of its output is stored, and its agent may still deliver it. */
  uncollected: boolean;
}

/**
 * An unanswered request to an agent that keeps its session is repeated after this many seconds times the number of
 * tries.
 */
const unansweredS = 60;
/**
 * A request that found the target unreachable is repeated after this many seconds times the square of the number of
 * tries.
 */
const unreachableS = 5;
/** How many seconds sooner another agent of the segment may try than the one that could not reach the target. */
const otherFirstS = 15;
/** After this many tries no agent is asked again. */
const maxTries = 20;

/**
 * SQL condition: an agent should be asked now to clean up after `c`. If the agent that was asked lost its session
 * before it answered, the clean-up is due again at once, because nobody knows whether the request arrived.
 */
function isDue(sql: Queryable) {
  return sql`c.done_at is null and c.due_at < clock_timestamp() and c.tries < ${maxTries}
    and case
      when c.asked_at is null then true
      when c.told_at >= c.asked_at
        then c.told_at < clock_timestamp() - make_interval(secs => ${unreachableS} * c.tries * c.tries)
      else c.asked_at < clock_timestamp() - make_interval(secs => ${unansweredS} * c.tries)
        or not exists (select from agent_sessions s where s.agent_id = c.agent_id and s.connected_at < c.asked_at
          and s.disconnected_at is null and s.expires_at > clock_timestamp())
    end`;
}

/**
 * SQL condition: this agent of the segment may be asked. It must be capable of the step of `c`, because an agent that
 * knows nothing of the user it ran as would find none of that user's processes. An agent that could not reach the
 * target lets the others try first.
 */
function isForAgent(sql: Queryable, agentId: number | PendingQuery<Row[]>) {
  return sql`exists (select from job_run_steps st where st.id = c.job_run_step_id and (st.needs is null
      or st.needs <@ (select s.capabilities from agent_sessions s where s.agent_id = ${agentId})))
    and (c.agent_id = ${agentId} and c.told_at >= c.asked_at and c.told_at >=
      clock_timestamp() - make_interval(secs => ${unreachableS} * c.tries * c.tries + ${otherFirstS})) is not true`;
}

interface AgentOfSegment {
  segmentId: number;
  agentId: number;
}

/**
 * Claims due clean-ups for an agent of their segment.
 *
 * @param only the step of the attempts that may be claimed; any by default.
 */
export async function takeDueCleanUps(
  sql: Sql,
  agent: AgentOfSegment,
  limit: number,
  only?: number,
): Promise<DueCleanUp[]> {
  return sql<DueCleanUp[]>`
    with due as materialized (
      select c.job_run_step_id, c.epoch from attempt_clean_ups c
      where c.segment_id = ${agent.segmentId} and ${isDue(sql)} and ${isForAgent(sql, agent.agentId)}
        ${only === undefined ? sql`` : sql`and c.job_run_step_id = ${only}`}
      order by c.due_at limit ${limit} for update of c skip locked
    )
    update attempt_clean_ups c set asked_at = clock_timestamp(), agent_id = ${agent.agentId}, tries = c.tries + 1
    from due where c.job_run_step_id = due.job_run_step_id and c.epoch = due.epoch
    returning c.job_run_step_id as step_id, c.epoch, exists (
      select from job_run_step_attempts a join agents g on g.id = a.agent_id
      where a.job_run_step_id = c.job_run_step_id and a.epoch = c.epoch and a.status = 'unknown'
        and a.late_status is null and a.output_state = 'gapped' and g.state <> 'revoked') as uncollected`;
}

/** Returns the steps of up to so many clean-ups that `takeDueCleanUps` would claim, in its order. */
export async function stepsOfDueCleanUps(sql: Sql, agent: AgentOfSegment, limit: number): Promise<number[]> {
  const rows = await sql<{ stepId: number }[]>`
    select c.job_run_step_id as step_id from attempt_clean_ups c
    where c.segment_id = ${agent.segmentId} and ${isDue(sql)} and ${isForAgent(sql, agent.agentId)}
    order by c.due_at limit ${limit}`;
  return [...new Set(rows.map(({ stepId }) => stepId))];
}

/**
 * Returns those of these agents for which a clean-up is due. Usually there are none, which a single index scan shows.
 */
export async function agentsForDueCleanUps(
  db: Queryable,
  agents: readonly { agentId: number; segmentId: number }[],
): Promise<Set<number>> {
  if (agents.length === 0) return new Set();
  const agentIds = agents.map(({ agentId }) => agentId);
  const segmentIds = agents.map(({ segmentId }) => segmentId);
  const rows = await db<{ agentId: number }[]>`
    with due as materialized (
      select c.* from attempt_clean_ups c where c.segment_id = any(${[...new Set(segmentIds)]}::bigint[]) and ${isDue(db)}
    )
    select g.agent_id from unnest(${agentIds}::bigint[], ${segmentIds}::bigint[]) as g(agent_id, segment_id)
    where exists (select from due c where c.segment_id = g.segment_id and ${isForAgent(db, db`g.agent_id`)})`;
  return new Set(rows.map(({ agentId }) => agentId));
}

export interface CleanUpAnswer {
  step: number;
  epoch: number;
  found: CleanUpFinding;
  survivors: { pid: number; command: string | null }[] | null;
}

/** Records what the agent that was asked has found. */
export async function noteCleanUps(
  tx: Tx,
  agentId: number,
  answers: readonly CleanUpAnswer[],
): Promise<{ stepId: number; epoch: number; jobRunId: number; found: CleanUpFinding }[]> {
  if (answers.length === 0) return [];
  return tx<{ stepId: number; epoch: number; jobRunId: number; found: CleanUpFinding }[]>`
    update attempt_clean_ups c set found = a.found, survivors = a.survivors, told_at = clock_timestamp(),
      done_at = case when a.found <> 'unreachable' then clock_timestamp() end
    from jsonb_to_recordset(${tx.json(answers as never)}::jsonb) as a(
      step bigint, epoch integer, found text, survivors jsonb), job_run_steps st
    where c.job_run_step_id = a.step and c.epoch = a.epoch and c.agent_id = ${agentId} and c.done_at is null
      and st.id = c.job_run_step_id
    returning c.job_run_step_id as step_id, c.epoch, st.job_run_id, c.found`;
}

/** Frees the locks of target runs that these attempts had left unknown: nothing of the attempts is running any more. */
export async function freeLocksOfCleaned(tx: Tx, stepIds: readonly number[]): Promise<void> {
  if (stepIds.length === 0) return;
  await tx`
    select free_locks(array(select t.id from job_run_steps st join job_run_targets t on t.id = st.target_run_id
      where st.id = any(${stepIds as number[]}::bigint[]) and t.has_locks and t.status = 'unknown'))`;
}
