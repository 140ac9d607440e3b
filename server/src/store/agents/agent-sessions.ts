// Agents' sessions: one per agent, renewed by its heartbeat. A lease belongs to a session of its agent.
import type { StepOutcome } from '@opsconductor/protocol';
import type { Queryable, Sql, Tx } from '../database/connection.ts';
import { unheardOf } from '../queue/attempts/clean-ups.ts';
import { isAwaitedNoMore, isTargetRunCancelled } from '../queue/attempts/step-attempts.ts';
import type { AgentRow } from './agents.ts';

export interface AgentIdentityRow {
  id: number;
  name: string;
  segmentId: number;
  signingKey: Buffer;
  /** The previous key, which no longer opens a connection. */
  previousSigningKey: Buffer | null;
  state: AgentRow['state'];
  sessionNumber: number;
  generation: number;
  generationAcked: boolean;
}

export async function lockAgent(tx: Tx, id: number): Promise<AgentIdentityRow | undefined> {
  return (await lockAgents(tx, [id], { wait: true }))[0];
}

/** Locks the rows of these agents; without `wait`, only those that nobody else has locked. */
export async function lockAgents(
  tx: Tx,
  ids: readonly number[],
  { wait }: { wait: boolean },
): Promise<AgentIdentityRow[]> {
  return tx<AgentIdentityRow[]>`
    select id, name, segment_id, signing_key, previous_signing_key, state, session_number, generation, generation_acked
    from agents where id = any(${ids as number[]}::bigint[]) order by id for update ${wait ? tx`` : tx`skip locked`}`;
}

/** Returns what a signature of the agent is checked against; also of an agent that is disabled or revoked. */
export async function findAgentKey(
  db: Queryable,
  id: number,
): Promise<Pick<AgentRow, 'signingKey' | 'segmentId' | 'state'> | undefined> {
  const rows = await db<Pick<AgentRow, 'signingKey' | 'segmentId' | 'state'>[]>`
    select signing_key, segment_id, state from agents where id = ${id}`;
  return rows[0];
}

/** Returns those of these ids that belong to an agent. */
export async function existingAgents(db: Queryable, ids: readonly number[]): Promise<Set<number>> {
  const rows = await db<{ id: number }[]>`
    select id from agents where id = any(${ids as number[]}::bigint[])`;
  return new Set(rows.map(({ id }) => id));
}

export interface NewSession {
  agentId: number;
  sessionNumber: number;
  generation: number;
  address: string;
}

/**
 * Records new authentications, at most one per agent: session number and generation go up, and the newest session wins.
 */
export async function openSessions(
  tx: Tx,
  sessions: readonly NewSession[],
  { serverId, leaseTtlMs }: { serverId: string; leaseTtlMs: number },
): Promise<void> {
  if (sessions.length === 0) return;
  await tx`
    with opened as materialized (
      select * from jsonb_to_recordset(${tx.json(sessions as never)}::jsonb) as o(
        "agentId" bigint, "sessionNumber" bigint, generation bigint, address text)
    ), authenticated as (
      update agents a set session_number = o."sessionNumber", generation = o.generation, generation_acked = false,
        address = o.address
      from opened o where a.id = o."agentId"
    ), written as (
      insert into agent_sessions (agent_id, session_number, server_id, slots, expires_at)
      select o."agentId", o."sessionNumber", ${serverId}, 1,
        clock_timestamp() + ${leaseTtlMs} * interval '1 millisecond'
      from opened o
      on conflict (agent_id) do update set session_number = excluded.session_number, server_id = excluded.server_id,
        slots = 1, draining = false, ready = false, connected_at = clock_timestamp(), disconnected_at = null,
        clean_shutdown = false, busy_reason = null, last_heartbeat_at = clock_timestamp(),
        expires_at = excluded.expires_at
    )
    select pg_notify('opsc_session', "agentId" || '.' || "sessionNumber") from opened`;
}

/**
 * Shuts the agent out and ends the session that its copy holds, so that none of the copy's writes is current any more.
 */
export async function quarantineAgent(tx: Tx, id: number): Promise<void> {
  await tx`
    with agent as (
      update agents set state = 'quarantined', state_changed_at = clock_timestamp(), session_number = session_number + 1
      where id = ${id}
      returning id, session_number
    ) select pg_notify('opsc_session', id || '.' || session_number || '.quarantined') from agent`;
}

export interface HeldSession {
  name: string;
  /** False if the agent is drained or shut out: then the reply to its completions contains no next step. */
  takesSteps: boolean;
  /** The capabilities that it announced. */
  capabilities: string[];
}

/**
 * Returns those of these sessions (keys `agent.session`) that are the newest of their agent, and keeps them newest
 * until the transaction ends: an agent that authenticates again meanwhile has to wait, and its resume sees what was
 * written here.
 */
export async function holdCurrentSessions(
  tx: Tx,
  sessions: readonly { agentId: number; sessionNumber: number }[],
): Promise<Map<string, HeldSession>> {
  if (sessions.length === 0) return new Map();
  const rows = await tx<(HeldSession & { id: number; sessionNumber: number })[]>`
    select a.id, a.session_number, a.name, a.state = 'active' and a.drain_requested_at is null as takes_steps,
      coalesce((select s.capabilities from agent_sessions s
        where s.agent_id = a.id and s.session_number = a.session_number), '{}') as capabilities
    from agents a
    where (a.id, a.session_number) in (
      select c."agentId", c."sessionNumber"
      from jsonb_to_recordset(${tx.json(sessions as never)}::jsonb) as c("agentId" bigint, "sessionNumber" bigint))
    order by a.id for share`;
  return new Map(rows.map(({ id, sessionNumber, ...held }) => [`${id}.${sessionNumber}`, held]));
}

/**
 * Whether the session is the newest of its agent. If so, it stays newest until the transaction ends, and nobody else
 * settles attempts for it.
 */
export async function lockCurrentSession(
  tx: Tx,
  { agentId, sessionNumber }: { agentId: number; sessionNumber: number },
): Promise<boolean> {
  const rows = await tx`
    select from agents where id = ${agentId} and session_number = ${sessionNumber} for no key update`;
  return rows.length > 0;
}

/**
 * Records the loss of an agent's journal: from now on nothing is concluded from the absence of earlier attempts in it.
 * Repeated reports of the same loss (`journalLoss`) keep the time of the first.
 */
export async function noteJournalLost(
  tx: Tx,
  { agentId, journalLoss = null }: { agentId: number; journalLoss?: string | null | undefined },
): Promise<void> {
  await tx`
    update agents set journal_lost_at = clock_timestamp(), journal_loss = ${journalLoss}
    where id = ${agentId} and (journal_loss = ${journalLoss}) is not true`;
}

export interface ReadySession {
  agentId: number;
  sessionNumber: number;
  slots: number;
  draining: boolean;
  version: string;
  platform: string;
  hostname: string | null;
  /** Capabilities beyond those of the first version of agents. */
  capabilities?: readonly string[];
  /** Number of the newest roster that it has seen. */
  rosterNumber?: number;
}

/**
 * Marks agents as ready: their new generation is on disk, they have said what they are, and they may be given steps
 * from now on.
 *
 * @param onlyIdle leaves out agents about which something must be decided first: those with leases, or with attempts
 *   that were given up and never heard of.
 * @returns the sessions that were not left out, as `agent.session`.
 */
export async function readySessions(
  db: Queryable,
  sessions: readonly ReadySession[],
  { onlyIdle }: { onlyIdle: boolean },
): Promise<Set<string>> {
  if (sessions.length === 0) return new Set();
  const isIdle = onlyIdle
    ? db`not exists (select from job_run_steps st where st.agent_id = g."agentId" and st.status = 'running')
        and not exists (select from ${unheardOf(db, db`g."agentId"`)})`
    : db`true`;
  const given = sessions.map((session) => ({
    ...session,
    capabilities: [...(session.capabilities ?? [])].sort(),
  }));
  const rows = await db<{ agentId: number; sessionNumber: number }[]>`
    with given as materialized (
      select * from jsonb_to_recordset(${db.json(given as never)}::jsonb) as g(
        "agentId" bigint, "sessionNumber" bigint, slots integer, draining boolean, version text, platform text,
        hostname text, capabilities text[], "rosterNumber" integer)
    ), free as materialized (
      select g.* from given g where ${isIdle}
    ), ours as materialized (
      -- Locked in the order in which others lock them.
      select a.id from agents a join free f on a.id = f."agentId" and a.session_number = f."sessionNumber"
      order by a.id for no key update of a
    ), noted as (
      update agents a set generation_acked = true, version = f.version, platform = f.platform, hostname = f.hostname
      from free f join ours on ours.id = f."agentId"
      where a.id = f."agentId" and a.session_number = f."sessionNumber"
    ), readied as (
      update agent_sessions s set ready = true, slots = f.slots, draining = f.draining, capabilities = f.capabilities,
        can_scan = 'scan_hosts' = any(f.capabilities), roster_number = coalesce(f."rosterNumber", 0)
      from free f where s.agent_id = f."agentId" and s.session_number = f."sessionNumber"
    )
    select "agentId" as agent_id, "sessionNumber" as session_number from free`;
  return new Set(rows.map((row) => `${row.agentId}.${row.sessionNumber}`));
}

export interface HeartbeatRow {
  agentId: number;
  sessionNumber: number;
  rssBytes: number | null;
  spoolBytes: number | null;
  loadAverage: number | null;
  /** Why it takes nothing new at the moment. */
  busyReason?: string | null;
}

/**
 * Renews the sessions of many agents in one statement. Returns the agents whose session is still current and that may
 * be connected, each with the seconds of silence after which its steps become unknown.
 */
export async function renewSessions(
  sql: Sql,
  beats: readonly HeartbeatRow[],
  leaseTtlMs: number,
): Promise<Map<number, number>> {
  const rows = await sql<{ agentId: number; unknownAfterS: number }[]>`
    with beats as materialized (
      select * from jsonb_to_recordset(${sql.json(beats as never)}::jsonb) as c(
        "agentId" bigint, "sessionNumber" bigint, "rssBytes" bigint, "spoolBytes" bigint,
        "loadAverage" double precision, "busyReason" text)
    ), ours as materialized (
      -- Locked in the order in which others lock them.
      select s.agent_id from agent_sessions s
      join beats c on s.agent_id = c."agentId" and s.session_number = c."sessionNumber"
      order by s.agent_id for no key update of s
    )
    update agent_sessions s set last_heartbeat_at = clock_timestamp(),
      expires_at = clock_timestamp() + ${leaseTtlMs} * interval '1 millisecond',
      rss_bytes = c."rssBytes", spool_bytes = c."spoolBytes", load_average = c."loadAverage",
      busy_reason = c."busyReason"
    from beats c join ours on ours.agent_id = c."agentId"
    where s.agent_id = c."agentId" and s.session_number = c."sessionNumber"
      and exists (select from agents a where a.id = s.agent_id and a.session_number = s.session_number
        and a.state = 'active')
    returning s.agent_id, (select g.unknown_after_s from agents a join segments g on g.id = a.segment_id
      where a.id = s.agent_id) as unknown_after_s`;
  return new Map(rows.map((row) => [row.agentId, row.unknownAfterS]));
}

/** Notes that the agent takes nothing more in this session. */
export async function setDraining(sql: Sql, agentId: number, sessionNumber: number): Promise<void> {
  await sql`update agent_sessions set draining = true where agent_id = ${agentId} and session_number = ${sessionNumber}`;
}

/** Records that the connection is gone. Leases stay: silence, not a closed socket, makes attempts unknown. */
export async function closeSession(
  sql: Sql,
  agentId: number,
  sessionNumber: number,
  cleanShutdown: boolean,
): Promise<void> {
  await sql`
    update agent_sessions set disconnected_at = clock_timestamp(), ready = false, clean_shutdown = ${cleanShutdown}
    where agent_id = ${agentId} and session_number = ${sessionNumber} and disconnected_at is null`;
}

export interface HeldStep {
  id: number;
  epoch: number;
  leaseToken: string;
  sessionNumber: number;
  jobRunId: number;
  targetRunId: number;
  stepNumber: number;
  attemptDay: string;
  outputSeq: number;
  outputBytes: number;
  /** Its run or target run is being cancelled, and it is not a clean-up step. */
  isToStop: boolean;
  /** The start of the step was recorded, which implies its lease. */
  isNoted: boolean;
  /** It was leased before the agent lost its journal, so its absence from the current journal proves nothing. */
  isBeforeLoss: boolean;
}

/** Returns the steps that the agent is running according to the database. */
export async function runningStepsOfAgent(db: Queryable, agentId: number): Promise<HeldStep[]> {
  return db<HeldStep[]>`
    select st.id, st.epoch, st.lease_token, st.session_number, st.job_run_id, st.target_run_id, st.step_number,
      st.attempt_day::text as attempt_day, st.output_seq, st.output_bytes,
      (r.status = 'cancelling' or ${isTargetRunCancelled(db)}) and not st.is_clean_up as is_to_stop,
      st.started_at is not null as is_noted,
      (st.leased_at <= (select g.journal_lost_at from agents g where g.id = ${agentId})) is true as is_before_loss
    from job_run_steps st join job_runs r on r.id = st.job_run_id
    where st.agent_id = ${agentId} and st.status = 'running' order by st.id`;
}

/** Moves an agent's live leases to its new session. Returns those that no other agent has taken over meanwhile. */
export async function adoptLeases(
  tx: Tx,
  agentId: number,
  sessionNumber: number,
  stepIds: readonly number[],
): Promise<Set<number>> {
  if (stepIds.length === 0) return new Set();
  const rows = await tx<{ id: number }[]>`
    update job_run_steps set session_number = ${sessionNumber}
    where id = any(${stepIds as number[]}::bigint[]) and agent_id = ${agentId} and status = 'running'
    returning id`;
  return new Set(rows.map(({ id }) => id));
}

export interface SettledAttemptRow {
  stepId: number;
  epoch: number;
  leaseToken: string;
  status: StepOutcome['status'];
  lateStatus: StepOutcome['status'] | null;
  attemptDay: string;
  jobRunId: number;
  targetRunId: number;
  stepNumber: number;
  outputSeq: number;
  outputBytes: number;
  /**
   * Nobody waits for its end any more: the run or target run was cancelled, or the step is being run again or was ended
   * by a person.
   */
  isToStop: boolean;
}

/** Returns the settled attempts among those that an agent presents, with how much of their output is stored. */
export async function settledAttempts(
  tx: Tx,
  agentId: number,
  attempts: readonly { step: number; epoch: number }[],
): Promise<SettledAttemptRow[]> {
  if (attempts.length === 0) return [];
  const stepIds = attempts.map(({ step }) => step);
  return tx<SettledAttemptRow[]>`
    select a.job_run_step_id as step_id, a.epoch, a.lease_token, a.status, a.late_status,
      a.attempt_day::text as attempt_day, a.job_run_id, st.target_run_id, st.step_number,
      ${isAwaitedNoMore(tx)} as is_to_stop,
      stored.seq as output_seq, stored.bytes as output_bytes
    from jsonb_to_recordset(${tx.json(attempts as never)}::jsonb) as c(step bigint, epoch integer)
    join job_run_step_attempts a on a.job_run_step_id = c.step and a.epoch = c.epoch and a.agent_id = ${agentId}
      and a.job_run_step_id = any(${stepIds}::bigint[])
    join job_run_steps st on st.id = a.job_run_step_id and st.id = any(${stepIds}::bigint[])
    join job_runs r on r.id = a.job_run_id
    cross join lateral (
      select coalesce(max(o.seq), 0) as seq, coalesce(sum(o.raw_length), 0)::bigint as bytes from run_output o
      where o.attempt_day = a.attempt_day and o.job_run_step_id = a.job_run_step_id and o.epoch = a.epoch) stored`;
}

/** Returns those of an agent's attempts that were given up, and of which its result would still be taken. */
export async function awaitedAttempts(
  db: Queryable,
  agentId: number,
  attempts: readonly { stepId: number; epoch: number }[],
): Promise<{ leaseToken: string }[]> {
  if (attempts.length === 0) return [];
  const keys = attempts.map(({ stepId, epoch }) => ({ stepId, epoch }));
  // A condition on the state would have all attempts read that were ever given up.
  const rows = await db<{ leaseToken: string; isAwaited: boolean }[]>`
    select a.lease_token, a.status = 'unknown' and a.late_status is null as is_awaited
    from jsonb_to_recordset(${db.json(keys)}::jsonb) as c("stepId" bigint, epoch integer)
    join job_run_step_attempts a on a.job_run_step_id = c."stepId" and a.epoch = c.epoch and a.agent_id = ${agentId}
      and a.job_run_step_id = any(${attempts.map(({ stepId }) => stepId)}::bigint[])`;
  return rows.filter(({ isAwaited }) => isAwaited);
}

export interface StartedStep {
  step: number;
  epoch: number;
  agentId: number;
  sessionNumber: number;
  /** How long ago the step began; just now if omitted. */
  ageMs?: number;
  /** The command continues without its agent. */
  survives?: boolean;
}

/**
 * Records when steps began, once each, and only for the session that holds them. Returns those that were recorded.
 *
 * Locks the steps in the order of their ids, as whoever stores their output does, whatever order they are given in.
 */
export async function markStarted(
  db: Queryable,
  started: readonly StartedStep[],
): Promise<{ id: number; jobRunId: number; startedAt: Date }[]> {
  if (started.length === 0) return [];
  return db<{ id: number; jobRunId: number; startedAt: Date }[]>`
    with locked as materialized (
      select st.id from job_run_steps st
      where st.id = any(${started.map(({ step }) => step)}::bigint[]) order by st.id for update
    )
    update job_run_steps st set
      started_at = greatest(st.leased_at, clock_timestamp() - coalesce(c."ageMs", 0) * interval '1 millisecond')
    from jsonb_to_recordset(${db.json(started as never)}::jsonb) as c(
      step bigint, epoch integer, "agentId" bigint, "sessionNumber" bigint, "ageMs" double precision)
    join locked on locked.id = c.step
    where st.id = c.step and st.epoch = c.epoch and st.agent_id = c."agentId"
      and st.session_number = c."sessionNumber" and st.status = 'running' and st.started_at is null
    returning st.id, st.job_run_id, st.started_at`;
}

/** Whether the segment has an agent that is not revoked, and whether one of them is neither disabled nor quarantined. */
export async function agentsOf(db: Queryable, segmentId: number): Promise<'none' | 'barred' | 'active'> {
  const [row] = await db<{ active: boolean | null }[]>`
    select bool_or(state = 'active') as active from agents where segment_id = ${segmentId} and state <> 'revoked'`;
  if (row === undefined || row.active === null) return 'none';
  return row.active ? 'active' : 'barred';
}
