// Transactions that take row locks are retried when the database breaks a deadlock or a serialization conflict.
import { type Queryable, type Sql, sqlState, type Tx } from './connection.ts';

const retried = new Set(['40P01', '40001']);
const maxTries = 5;
/** For each open transaction, the statements that are awaited with its commit. */
const lastStatements = new WeakMap<object, Promise<unknown>[]>();
/** Transactions that `commitWithThese` has committed. */
const committed = new WeakSet<object>();

/** Runs the work in one transaction. The work may run again, so it must have no effects outside the database. */
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
        // Only the driver's COMMIT of an empty transaction is left: nobody waits for it, and it doesn't matter if it
        // fails.
        resolve(result);
      }
      return result;
    }) as Promise<T>;
    // After a failed statement the database turns the COMMIT into a rollback, without an error.
    begun.then((result) => Promise.all(last).then(() => resolve(result))).catch(reject);
  });
}

/**
 * Leaves a statement that was just sent to be awaited with the commit, which saves a round trip if nobody needs its
 * result. If it fails, nothing is committed and `inTransaction` throws. Outside of `inTransaction` it is awaited here.
 */
export async function waitWithCommit(tx: Queryable, statement: Promise<unknown>): Promise<void> {
  const last = lastStatements.get(tx);
  if (last === undefined) {
    await statement;
    return;
  }
  // inTransaction reports it; until then it must not count as unhandled.
  statement.catch(() => undefined);
  last.push(statement);
}

/**
 * Commits in the same round trip as the statements sent just before it. Call it last, and await it together with them.
 * If one of them fails, nothing is committed, and that statement rejects. Statements sent after it read what was
 * committed.
 */
export async function commitWithThese(tx: Tx): Promise<void> {
  // The driver ends every transaction with its own COMMIT, so it gets an empty transaction to end.
  const { command } = await tx`commit and chain`;
  if (command === 'COMMIT') committed.add(tx);
}

/** Limits, for the rest of the transaction, how long it waits for each lock, in ms. Then it fails with 55P03. */
export async function boundLockWaits(tx: Tx, mostMs: number): Promise<void> {
  await tx`select set_config('lock_timeout', ${String(mostMs)}, true)`;
}

/**
 * For the rest of a transaction that may take long: what an operator has set for the role, and our own limit for open
 * transactions, would end it.
 */
export async function liftTimeLimits(tx: Tx): Promise<void> {
  await tx`
    select set_config(name, '0', true) from pg_settings
     where name in ('statement_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout')`;
}

/** Whether `commitWithThese` has committed it. */
export function hasCommitted(tx: Tx): boolean {
  return committed.has(tx);
}
