// The audit log: rows are only ever added.
import type { Queryable } from './connection.ts';
import { inheritedCredential, namedCredential } from './effective-settings.ts';

export interface NewAuditRow {
  actorKind: 'user' | 'agent' | 'system' | 'anonymous';
  actorId: number | null;
  actorName: string;
  action: string;
  objectKind: string | null;
  objectId: string | null;
  detail: Record<string, unknown>;
  address: string | null;
  requestId: string | null;
  segmentId: number | null;
  categoryId: number | null;
}

export async function insertAuditRow(sql: Queryable, row: NewAuditRow): Promise<void> {
  await sql`
    insert into audit_log
      (actor_kind, actor_id, actor_name, action, object_kind, object_id, detail, address, request_id,
       segment_id, category_id)
    values (${row.actorKind}, ${row.actorId}, ${row.actorName}, ${row.action}, ${row.objectKind}, ${row.objectId},
            ${sql.json(row.detail as never)}, ${row.address}, ${row.requestId},
            ${row.segmentId}, ${row.categoryId})`;
}

/**
 * The row of a run's start, after the run was inserted: with the credentials that its targets use, by inheritance or
 * because a step names one, most used first; of more than a hundred the first hundred.
 */
export async function insertRunAuditRow(sql: Queryable, row: NewAuditRow, runId: number): Promise<void> {
  await sql`
    insert into audit_log
      (actor_kind, actor_id, actor_name, action, object_kind, object_id, detail, address, request_id,
       segment_id, category_id)
    select ${row.actorKind}, ${row.actorId}::bigint, ${row.actorName}, ${row.action}, ${row.objectKind}::text,
      ${row.objectId}::text, ${sql.json(row.detail as never)}::jsonb || jsonb_build_object('credentials', coalesce(
        jsonb_agg(jsonb_build_object('id', u.id, 'targets', u.targets)), '[]')),
      ${row.address}::text, ${row.requestId}::text, ${row.segmentId}::bigint, ${row.categoryId}::bigint
    from (
      select c.id, count(*) as targets
      from job_runs r
      join job_versions v on v.job_id = r.job_id and v.version = r.job_version
      join job_run_targets tr on tr.job_run_id = r.id
      join targets t on t.id = tr.target_id
      join segments sg on sg.id = t.segment_id
      cross join lateral (
        select distinct n.name from unnest(coalesce(v.step_credentials, array[null::text])) n(name)) asked
      join credentials c on c.id = case when asked.name is null
        then ${inheritedCredential(sql)} else ${namedCredential(sql, sql`asked.name`)} end
      where r.id = ${runId} group by c.id order by targets desc, c.id limit 100
    ) u`;
}
