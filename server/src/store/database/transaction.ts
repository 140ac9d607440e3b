// Transactions that take row locks are retried when the database breaks a deadlock or a serialization conflict.
import { type Queryable, type Sql, sqlState, type Tx } from './connection.ts';

const retried = new Set(['40P01', '40001']);
const maxTries = 5;
/** Of each open transaction, the statements that are waited for with its commit. */
const lastStatements = new WeakMap<object, Promise<unknown>[]>();
/** Transactions that `commitWithThese` has committed. */
const committed = new WeakSet<object>();

/** Runs the work in one transaction; it must be free of effects outside the database, as it may run again. */
export async function inTransaction<T>(sql: Sql, work: (tx: Tx) => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await runOnce(sql, work);
    } catch (error) {
      if (tries >= maxTries || !retried.has(sqlState(error) ?? '')) throw error;
    }
  }
}

/** Resolves when the work is committed, which may be before the driver's own COMMIT is answered. */
function runOnce<T>(sql: Sql, work: (tx: Tx) => Promise<T>): Promise<T> {
  const last: Promise<unknown>[] = [];
  return new Promise<T>((resolve, reject) => {
    const begun = sql.begin(async (tx) => {
      lastStatements.set(tx, last);
      const result = await work(tx as unknown as Tx);
      if (committed.has(tx)) {
        await Promise.all(last);
        // What is left to the driver is the COMMIT of an empty transaction: nobody waits for it, or minds if it fails.
        resolve(result);
      }
      return result;
    }) as Promise<T>;
    // Behind a statement that failed the database turns the COMMIT into a rollback, without an error.
    begun.then((result) => Promise.all(last).then(() => resolve(result))).catch(reject);
  });
}

/**
 * Leaves a statement that was just sent to be waited for with the commit, which saves a round trip: for one whose
 * result nobody needs. If it fails, nothing is committed and `inTransaction` throws. Elsewhere it is waited for here.
 */
export async function waitWithCommit(tx: Queryable, statement: Promise<unknown>): Promise<void> {
  const last = lastStatements.get(tx);
  if (last === undefined) {
    await statement;
    return;
  }
  // Told of by inTransaction; until then it must not count as unhandled.
  statement.catch(() => undefined);
  last.push(statement);
}

/**
 * Commits in the same round trip what is sent just before it: call it last, and wait for it together with that. A
 * statement among those that fails leaves nothing committed, and rejects by itself. What is sent behind it reads what
 * was committed.
 */
export async function commitWithThese(tx: Tx): Promise<void> {
  // The driver ends every transaction with a COMMIT of its own: it gets an empty one to end.
  const { command } = await tx`commit and chain`;
  if (command === 'COMMIT') committed.add(tx);
}

/** From here on the transaction waits so long, in ms, for each lock that others hold, and then fails with 55P03. */
export async function boundLockWaits(tx: Tx, mostMs: number): Promise<void> {
  await tx`select set_config('lock_timeout', ${String(mostMs)}, true)`;
}

/** Whether `commitWithThese` has committed it. */
export function hasCommitted(tx: Tx): boolean {
  return committed.has(tx);
}
