// Removes files that are no longer used, if the server is set to do so. What was removed is in the audit log.
import { recordAudit } from '../audit/record-audit.ts';
import type { Sql } from '../store/database/connection.ts';
import { inTransaction } from '../store/database/transaction.ts';
import { deleteUnusedFiles } from '../store/files/files.ts';
import { holdRetention } from '../store/queue/sweep/retention.ts';

const dayMs = 24 * 3_600_000;
/** Small enough that nobody waits long for its locks. */
const filesPerBatch = 20;

/**
 * Removes complete files that no job uses, and that no step has asked for in the last `days`.
 * @param signal if it is aborted, the rest is left for the next time.
 * @returns how many were removed; if another server is doing it, that is left to it.
 */
export async function expireFiles(sql: Sql, days: number, now: Date, signal?: AbortSignal): Promise<number> {
  const unusedSince = new Date(now.getTime() - days * dayMs);
  let removed = 0;
  for (let count = filesPerBatch; count === filesPerBatch && !signal?.aborted; removed += count) {
    count = await inTransaction(sql, async (tx) => {
      if (!(await holdRetention(tx))) return 0;
      const files = await deleteUnusedFiles(tx, unusedSince, filesPerBatch);
      for (const { id, name, size, categoryId } of files) {
        await recordAudit(tx, {
          actor: { kind: 'system', name: 'retention' },
          action: 'file.expired',
          object: { kind: 'file', id },
          scope: { categoryId },
          detail: { name, size, unusedSince: unusedSince.toISOString(), keptDays: days },
        });
      }
      return files.length;
    });
  }
  return removed;
}
