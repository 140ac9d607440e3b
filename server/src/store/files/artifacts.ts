// Files that steps have fetched, kept with their run.
import type { Reach } from '../../auth/authority.ts';
import type { Queryable, Sql, Tx } from '../database/connection.ts';
import { decodeCursor } from '../database/cursor.ts';
import { targetRunWithin } from '../people/visibility.ts';

export interface ArtifactRow {
  id: string;
  stepId: number;
  epoch: number;
  /** Sealed. */
  name: Buffer;
  size: number;
  /** In hex. */
  sha256: string;
  createdAt: Date;
}

interface ListedArtifacts {
  runId: number;
  stepId?: number;
  attempt?: number;
  limit: number;
  cursor?: string;
}

interface AttemptRef {
  stepId: number;
  epoch: number;
}

/**
 * Locks the step, so that its attempt's artifacts can be counted. Returns false if the agent no longer holds the
 * attempt.
 */
export async function lockAttempt(
  tx: Tx,
  { stepId, epoch }: AttemptRef,
  agent: { agentId: number; sessionNumber: number },
): Promise<boolean> {
  const rows = await tx`
    select 1 from job_run_steps where id = ${stepId} and epoch = ${epoch} and status = 'running'
      and agent_id = ${agent.agentId} and session_number = ${agent.sessionNumber} for update`;
  return rows.length === 1;
}

/** Returns the artifact with this name that the attempt has already begun. */
export async function findBegunArtifact(
  db: Queryable,
  { stepId, epoch }: AttemptRef,
  nameDigest: Buffer,
): Promise<string | undefined> {
  const [row] = await db<{ id: string }[]>`
    select id from run_artifacts
    where job_run_step_id = ${stepId} and epoch = ${epoch} and name_digest = ${nameDigest}`;
  return row?.id;
}

/** Whether an artifact belongs to that attempt. */
export async function isArtifactOf(
  db: Queryable,
  id: string,
  { stepId, epoch }: AttemptRef,
): Promise<boolean> {
  const rows = await db`
    select 1 from run_artifacts where id = ${id} and job_run_step_id = ${stepId} and epoch = ${epoch}`;
  return rows.length === 1;
}

/**
 * Returns how many artifacts an attempt has sent, and their bytes; one that is still arriving counts with its full
 * size.
 */
export async function artifactTotals(
  db: Queryable,
  { stepId, epoch }: AttemptRef,
): Promise<{ count: number; bytes: number }> {
  const [row] = await db<{ count: number; bytes: number }[]>`
    select count(*)::int as count, coalesce(sum(k.size), 0)::bigint as bytes
    from run_artifacts a join contents k on k.id = a.id
    where a.job_run_step_id = ${stepId} and a.epoch = ${epoch}`;
  return row ?? { count: 0, bytes: 0 };
}

export async function insertArtifact(
  tx: Tx,
  { id, stepId, epoch, name, nameDigest }: AttemptRef & { id: string; name: Buffer; nameDigest: Buffer },
): Promise<void> {
  await tx`
    insert into run_artifacts (id, job_run_step_id, epoch, name, name_digest)
    values (${id}, ${stepId}, ${epoch}, ${name}, ${nameDigest})`;
}

/**
 * Returns complete artifacts of a run that may be seen, by step, attempt and time of arrival, one more than `limit` if
 * there are more.
 */
export async function listArtifacts(
  sql: Sql,
  { runId, stepId, attempt, limit, cursor }: ListedArtifacts,
  reaches: readonly Reach[],
): Promise<ArtifactRow[]> {
  const after =
    cursor === undefined ? undefined : decodeCursor(cursor, ['number', 'number', 'uuid'] as const);
  return sql<ArtifactRow[]>`
    ${selectArtifacts(sql)} where st.job_run_id = ${runId} and ${targetRunWithin(sql, reaches)}
      and k.sha256 is not null
      and ${stepId === undefined ? sql`true` : sql`a.job_run_step_id = ${stepId}`}
      and ${attempt === undefined ? sql`true` : sql`a.epoch = ${attempt}`}
      and ${after === undefined ? sql`true` : sql`(a.job_run_step_id, a.epoch, a.id) > (${after[0]}, ${after[1]}, ${after[2]}::uuid)`}
    order by a.job_run_step_id, a.epoch, a.id limit ${limit + 1}`;
}

/** Returns an artifact of a run whose content is complete. */
export async function findArtifact(
  sql: Sql,
  { runId, id }: { runId: number; id: string },
  reaches: readonly Reach[],
): Promise<ArtifactRow | undefined> {
  const [row] = await sql<ArtifactRow[]>`
    ${selectArtifacts(sql)} where a.id = ${id} and st.job_run_id = ${runId} and k.sha256 is not null
      and ${targetRunWithin(sql, reaches)}`;
  return row;
}

function selectArtifacts(sql: Sql) {
  return sql`
    select a.id, a.job_run_step_id as step_id, a.epoch, a.name, k.size, encode(k.sha256, 'hex') as sha256, a.created_at
    from run_artifacts a join contents k on k.id = a.id
    join job_run_steps st on st.id = a.job_run_step_id
    join job_run_targets tr on tr.id = st.target_run_id
    join job_runs r on r.id = st.job_run_id join jobs j on j.id = r.job_id`;
}
