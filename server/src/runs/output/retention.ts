// Removes output and runs whose retention has ended. What was removed is recorded in the audit log.
import { recordAudit } from '../../audit/record-audit.ts';
import type { Log } from '../../log.ts';
import { type Sql, sqlState } from '../../store/database/connection.ts';
import { isRefused } from '../../store/database/refused-statement.ts';
import { inTransaction } from '../../store/database/transaction.ts';
import {
  deleteOldRuns,
  dropPartition,
  expiredPartitions,
  holdRetention,
  moveOutputKeptFrom,
  oldestRun,
} from '../../store/queue/sweep/retention.ts';

const lockNotAvailable = '55P03';
const dayMs = 24 * 3_600_000;
/** Small enough that nobody waits long for its locks. A run that is larger is a batch of its own. */
const perBatch = { runs: 100, steps: 5_000 };
/** After this many that the database refuses to delete, the rest is left for the next time. */
const maxRefused = 100;

export interface RetentionDeps {
  sql: Sql;
  log: Log;
  /** Days that output is kept; `undefined` keeps it forever. `runDays` is the same for ended runs. */
  outputDays: number | undefined;
  runDays: number | undefined;
  now: Date;
  /** Stops the removal; what is left is removed the next time. */
  signal?: AbortSignal;
}

/** Removes what is old enough, unless another server is already doing it. */
export async function applyRetention(deps: RetentionDeps): Promise<{ partitions: number; runs: number }> {
  return { partitions: await dropOutput(deps), runs: await deleteRuns(deps) };
}

/**
 * Drops the partitions of days that are no longer kept. An attempt's day is in UTC, and is kept for that many whole
 * days after it.
 */
async function dropOutput({ sql, log, outputDays, now, signal }: RetentionDeps): Promise<number> {
  if (outputDays === undefined) return 0;
  const keepFrom = new Date(now.getTime() - outputDays * dayMs).toISOString().slice(0, 10);
  // Done before anything is dropped: from then on readers are told that output is gone, and late chunks are refused.
  const isOurs = await inTransaction(sql, async (tx) => {
    if (!(await holdRetention(tx))) return false;
    await moveOutputKeptFrom(tx, keepFrom);
    return true;
  });
  if (!isOurs) return 0;
  let dropped = 0;
  for (const { name, bytes } of await expiredPartitions(sql, now)) {
    if (signal?.aborted) break;
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
      // Somebody is reading it, or the table is busy: the next round tries again.
      log.warn(
        { err: error, partition: name },
        'old output could not be removed yet, for example because it is being read or backed up; this is retried in an hour',
      );
      // If a backup holds the whole table, waiting for each day would delay all output each time.
      if (sqlState(error) === lockNotAvailable) break;
    }
  }
  return dropped;
}

/** Runs that the database refuses to delete keep no others: they are gone around. */
async function deleteRuns({ sql, log, runDays, now, signal }: RetentionDeps): Promise<number> {
  if (runDays === undefined) return 0;
  const endedBefore = new Date(now.getTime() - runDays * dayMs);
  const refused: number[] = [];
  let most = perBatch;
  let deleted = 0;
  while (!signal?.aborted) {
    try {
      const count = await deleteSome(sql, { endedBefore, keptDays: runDays, most, refused });
      if (count === 0) break;
      deleted += count;
    } catch (error) {
      if (!isRefused(error)) throw error;
      if (most.runs > 1) {
        most = { ...perBatch, runs: 1 };
        continue;
      }
      // The one by itself: others may have been deleted meanwhile.
      const id = await oldestRun(sql, endedBefore, refused);
      if (id === undefined || refused.length >= maxRefused) throw error;
      log.error(
        { err: error, run: id },
        'the database refuses to remove a run that is older than its retention; this is retried in an hour',
      );
      refused.push(id);
      most = perBatch;
    }
  }
  return deleted;
}

function deleteSome(
  sql: Sql,
  given: {
    endedBefore: Date;
    keptDays: number;
    most: typeof perBatch;
    refused: readonly number[];
  },
): Promise<number> {
  const { endedBefore, keptDays, most, refused } = given;
  return inTransaction(sql, async (tx) => {
    if (!(await holdRetention(tx))) return 0;
    const ids = await deleteOldRuns(tx, endedBefore, most, refused);
    if (ids.length === 0) return 0;
    await recordAudit(tx, {
      actor: { kind: 'system', name: 'retention' },
      action: 'runs.expired',
      detail: { runs: ids, endedBefore: endedBefore.toISOString(), keptDays },
    });
    return ids.length;
  });
}

function dayOf(partition: string): string {
  return partition.slice(-8).replace(/^(\d{4})(\d\d)(\d\d)$/, '$1-$2-$3');
}
