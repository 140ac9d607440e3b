// The audit log: rows are only ever added.
import type { Queryable } from './connection.ts';

export interface AuditRow {
  actorKind: 'user' | 'agent' | 'system' | 'anonymous';
  actorId: number | null;
  actorName: string;
  action: string;
  objectKind: string | null;
  objectId: string | null;
  detail: Record<string, unknown>;
  address: string | null;
  requestId: string | null;
}

export async function insertAuditRow(sql: Queryable, row: AuditRow): Promise<void> {
  await sql`
    insert into audit_log
      (actor_kind, actor_id, actor_name, action, object_kind, object_id, detail, address, request_id)
    values (${row.actorKind}, ${row.actorId}, ${row.actorName}, ${row.action}, ${row.objectKind}, ${row.objectId},
            ${sql.json(row.detail as never)}, ${row.address}, ${row.requestId})`;
}
