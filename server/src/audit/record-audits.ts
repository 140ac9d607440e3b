import { insertAuditRows } from '../store/audit/many-audit-rows.ts';
import type { Queryable } from '../store/database/connection.ts';
import { type AuditEntry, rowOf } from './record-audit.ts';

/** Writes a row for each of many things that one change affects, in the given order and in one statement. */
export async function recordAudits(tx: Queryable, entries: readonly AuditEntry[]): Promise<void> {
  if (entries.length > 0) await insertAuditRows(tx, entries.map(rowOf));
}
