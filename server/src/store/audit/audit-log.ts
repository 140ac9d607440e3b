// The audit log: rows are only ever added.
import type { Queryable } from '../database/connection.ts';

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
