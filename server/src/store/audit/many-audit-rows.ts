import type { Queryable } from '../database/connection.ts';
import type { NewAuditRow } from './audit-log.ts';

/** Adds rows to the audit log in the given order. */
export async function insertAuditRows(sql: Queryable, rows: readonly NewAuditRow[]): Promise<void> {
  await sql`
    insert into audit_log
      (actor_kind, actor_id, actor_name, action, object_kind, object_id, detail, address, request_id,
       segment_id, category_id)
    select x.data->>'actorKind', (x.data->>'actorId')::bigint, x.data->>'actorName', x.data->>'action',
           x.data->>'objectKind', x.data->>'objectId', x.data->'detail', x.data->>'address', x.data->>'requestId',
           (x.data->>'segmentId')::bigint, (x.data->>'categoryId')::bigint
    from jsonb_array_elements(${sql.json(rows as never)}) with ordinality x(data, place) order by x.place`;
}
