// Signed runs: what is stored of a grant, and which segments require one.
import { type Queryable, type Tx, violatedConstraint } from '../database/connection.ts';
import type { Condition } from '../people/visibility.ts';

export interface RunGrantRow {
  id: number;
  jobId: number;
  dataKey: string;
  /** Encrypted with the data key. */
  signedGrant: Buffer | null;
}

export async function findRunGrants(db: Queryable, runIds: readonly number[]): Promise<RunGrantRow[]> {
  if (runIds.length === 0) return [];
  return db<RunGrantRow[]>`
    select id, job_id, data_key, signed_grant from job_runs where id = any(${runIds as number[]}::bigint[])`;
}

/** Returns the run that was started with the grant of this nonce. */
export async function findRunOfGrant(db: Queryable, nonce: Uint8Array): Promise<number | undefined> {
  const [row] = await db<{ id: number }[]>`select id from job_runs where grant_nonce = ${nonce}`;
  return row?.id;
}

/** Whether the error means that another start used the same grant first. */
export function isGrantUsed(error: unknown): boolean {
  return violatedConstraint(error) === 'job_runs_grant_nonce';
}

export interface SigningAgentRow {
  segmentId: number;
  segmentName: string;
  agentId: number;
  agentName: string;
  /** Whether it runs only what is signed for it alone. */
  oneAgent: boolean;
}

/** Returns agents of these segments that, when they last connected, ran only what is signed. */
export async function findSigningAgents(
  db: Queryable,
  segmentIds: readonly number[],
): Promise<SigningAgentRow[]> {
  return db<SigningAgentRow[]>`
    select a.segment_id, sg.name as segment_name, a.id as agent_id, a.name as agent_name,
      'signed_for_one_agent' = any(s.capabilities) as one_agent
    from ${signingAgents(db)}
    join segments sg on sg.id = a.segment_id
    where a.segment_id = any(${segmentIds as number[]}::bigint[]) and ${isSigningAgent(db)}
    order by sg.name, a.name`;
}

/** Agents as `a` with their sessions as `s`, for `isSigningAgent`. */
function signingAgents(db: Queryable) {
  return db`agents a join agent_sessions s on s.agent_id = a.id and s.session_number = a.session_number`;
}

function isSigningAgent(db: Queryable) {
  return db`a.state not in ('revoked', 'disabled') and 'signed_runs_only' = any(s.capabilities)`;
}

/** SQL condition: `findSigningAgents` would find an agent in the segment that the outer statement calls `segment`. */
export function hasSigningAgent(db: Queryable, segment: Condition): Condition {
  return db`exists (select from ${signingAgents(db)} where a.segment_id = ${segment} and ${isSigningAgent(db)})`;
}

/** Returns what placeholders may use of targets, besides where they are. */
export async function findTargetFacts(
  db: Queryable,
  targetIds: readonly number[],
): Promise<{ id: number; segmentId: number; segment: string; os: string; labels: Record<string, string> }[]> {
  return db`
    select t.id, t.segment_id, sg.name as segment, t.operating_system as os, t.labels
    from targets t join segments sg on sg.id = t.segment_id
    where t.id = any(${targetIds as number[]}::bigint[]) order by t.id`;
}

/**
 * Returns the word that names one agent, among the capabilities of its session and the needs of steps that only it may
 * run.
 */
export function agentNeed(agentId: number): string {
  return `agent:${agentId}`;
}

/** Makes the steps on each of these targets wait for one particular agent. */
export async function bindToAgents(
  tx: Tx,
  runId: number,
  bound: readonly { targetId: number; agentId: number }[],
): Promise<void> {
  if (bound.length === 0) return;
  const needs = bound.map(({ targetId, agentId }) => ({ targetId, need: agentNeed(agentId) }));
  await tx`
    update job_run_steps st set needs = coalesce(st.needs, '{}') || c.need
    from job_run_targets tr
    join jsonb_to_recordset(${tx.json(needs)}::jsonb) as c("targetId" bigint, need text) on c."targetId" = tr.target_id
    where tr.job_run_id = ${runId} and st.target_run_id = tr.id`;
}
