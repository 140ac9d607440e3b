import type { Queryable, Tx } from './connection.ts';
import { containsPattern, decodeCursor } from './cursor.ts';

export interface TargetRow {
  id: number;
  segmentId: number;
  segmentName: string;
  name: string;
  host: string;
  port: number;
  credentialId: string | null;
  credentialName: string | null;
  createdAt: Date;
  updatedAt: Date;
}

export interface TargetFields {
  name: string;
  host: string;
  port: number;
  credentialId: string | null;
}

export async function insertTarget(tx: Tx, target: TargetFields & { segmentId: number }): Promise<number> {
  const [row] = await tx<{ id: number }[]>`
    insert into targets ${tx(target, 'segmentId', 'name', 'host', 'port', 'credentialId')} returning id`;
  if (row === undefined) throw new Error('insert returned nothing');
  return row.id;
}

export async function updateTarget(tx: Tx, id: number, target: TargetFields): Promise<void> {
  await tx`update targets set ${tx(target, 'name', 'host', 'port', 'credentialId')}, updated_at = clock_timestamp()
            where id = ${id}`;
}

export async function deleteTarget(tx: Tx, id: number): Promise<void> {
  await tx`delete from targets where id = ${id}`;
}

/** A target by id; undefined when there is none. */
export async function findTarget(sql: Queryable, id: number): Promise<TargetRow | undefined> {
  const [row] = await sql<TargetRow[]>`${selectTargets(sql)} where t.id = ${id}`;
  return row;
}

/** Locks a target's row: whoever changes it or its host keys holds this. */
export async function lockTarget(tx: Tx, id: number): Promise<TargetRow | undefined> {
  const locked = await tx`select 1 from targets where id = ${id} for update`;
  return locked.length === 0 ? undefined : findTarget(tx, id);
}

/** Targets by name, one more than `limit` where there are more. */
export async function listTargets(
  sql: Queryable,
  query: { segmentId?: number; search?: string; limit: number; cursor?: string },
): Promise<TargetRow[]> {
  const { segmentId, search, limit, cursor } = query;
  const after = cursor === undefined ? undefined : decodeCursor(cursor, ['string', 'number'] as const);
  const pattern = search === undefined || search === '' ? undefined : containsPattern(search);
  return sql<TargetRow[]>`
    ${selectTargets(sql)}
     where ${segmentId === undefined ? sql`true` : sql`t.segment_id = ${segmentId}`}
       and ${pattern === undefined ? sql`true` : sql`(t.name ilike ${pattern} or t.host ilike ${pattern})`}
       and ${after === undefined ? sql`true` : sql`(t.name, t.id) > (${after[0]}, ${after[1]})`}
     order by t.name, t.id
     limit ${limit + 1}`;
}

function selectTargets(sql: Queryable) {
  return sql`
    select t.id, t.segment_id, s.name as segment_name, t.name, t.host, t.port, t.credential_id,
           c.name as credential_name, t.created_at, t.updated_at
      from targets t
      join segments s on s.id = t.segment_id
      left join credentials c on c.id = t.credential_id`;
}

/** An open run that has work on this target; undefined when none has. */
export async function findOpenRunOf(sql: Queryable, targetId: number): Promise<number | undefined> {
  const [row] = await sql<{ id: number }[]>`
    select r.id from job_run_targets tr join job_runs r on r.id = tr.job_run_id
     where tr.target_id = ${targetId} and r.status in ('queued', 'running', 'cancelling', 'held')
     order by r.id limit 1`;
  return row?.id;
}
