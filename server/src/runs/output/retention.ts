// Removes output and runs that are older than they are to be kept. What was removed is in the audit log.
import { recordAudit } from '../../audit/record-audit.ts';
import type { Log } from '../../log.ts';
import type { Sql } from '../../store/database/connection.ts';
import { inTransaction } from '../../store/database/transaction.ts';
import {
  deleteOldRuns,
  dropPartition,
  expiredPartitions,
  holdRetention,
  moveOutputKeptFrom,
} from '../../store/queue/retention.ts';

const dayMs = 24 * 3_600_000;
/** Small enough that nobody waits long for its locks. */
const runsPerBatch = 100;

export interface RetentionDeps {
  sql: Sql;
  log: Log;
  /** Undefined: kept for ever. */
  outputDays: number | undefined;
  runDays: number | undefined;
  now: () => Date;
}

/** Removes what is old enough; where another server is at it, leaves that to it. */
export async function applyRetention(deps: RetentionDeps): Promise<{ partitions: number; runs: number }> {
  return { partitions: await dropOutput(deps), runs: await deleteRuns(deps) };
}

/** An attempt's day is in UTC, and is kept for so many whole days after it. */
async function dropOutput({ sql, log, outputDays, now }: RetentionDeps): Promise<number> {
  if (outputDays === undefined) return 0;
  const keepFrom = new Date(now().getTime() - outputDays * dayMs).toISOString().slice(0, 10);
  // From then on readers are told that it is gone, and late chunks are refused: before anything is dropped.
  const isOurs = await inTransaction(sql, async (tx) => {
    if (!(await holdRetention(tx))) return false;
    await moveOutputKeptFrom(tx, keepFrom);
    return true;
  });
  if (!isOurs) return 0;
  let dropped = 0;
  for (const { name, bytes } of await expiredPartitions(sql)) {
    try {
      await inTransaction(sql, async (tx) => {
        if (!(await holdRetention(tx))) return;
        await dropPartition(tx, name);
        await recordAudit(tx, {
          actor: { kind: 'system', name: 'retention' },
          action: 'output.expired',
          detail: { day: dayOf(name), bytes, keptDays: outputDays },
        });
        dropped += 1;
      });
    } catch (error) {
      // Somebody reads it, or all of the table is busy: the next round tries again.
      log.warn({ err: error, partition: name }, 'old output could not be removed yet');
    }
  }
  return dropped;
}

async function deleteRuns({ sql, runDays, now }: RetentionDeps): Promise<number> {
  if (runDays === undefined) return 0;
  const endedBefore = new Date(now().getTime() - runDays * dayMs);
  let deleted = 0;
  for (let count = runsPerBatch; count === runsPerBatch; deleted += count) {
    count = await inTransaction(sql, async (tx) => {
      if (!(await holdRetention(tx))) return 0;
      const ids = await deleteOldRuns(tx, endedBefore, runsPerBatch);
      if (ids.length === 0) return 0;
      await recordAudit(tx, {
        actor: { kind: 'system', name: 'retention' },
        action: 'runs.expired',
        detail: { runs: ids, endedBefore: endedBefore.toISOString(), keptDays: runDays },
      });
      return ids.length;
    });
  }
  return deleted;
}

function dayOf(partition: string): string {
  return partition.slice(-8).replace(/^(\d{4})(\d\d)(\d\d)$/, '$1-$2-$3');
}
