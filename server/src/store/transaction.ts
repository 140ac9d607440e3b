// Transactions that take row locks are retried when the database breaks a deadlock or a serialization conflict.
import { type Queryable, type Sql, sqlState, type Tx } from './connection.ts';

const retried = new Set(['40P01', '40001']);
const maxTries = 5;
/** Of each open transaction, the statements that are waited for with its commit. */
const lastStatements = new WeakMap<object, Promise<unknown>[]>();

/** Runs the work in one transaction; it must be free of effects outside the database, as it may run again. */
export async function inTransaction<T>(sql: Sql, work: (tx: Tx) => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries += 1) {
    const last: Promise<unknown>[] = [];
    try {
      const result = (await sql.begin((tx) => {
        lastStatements.set(tx, last);
        return work(tx as unknown as Tx);
      })) as T;
      // Behind a statement that failed the database turns the COMMIT into a rollback, without an error.
      await Promise.all(last);
      return result;
    } catch (error) {
      if (tries >= maxTries || !retried.has(sqlState(error) ?? '')) throw error;
    }
  }
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
 * statement among those that fails leaves nothing committed, and rejects by itself.
 */
export async function commitWithThese(tx: Tx): Promise<void> {
  // The driver ends every transaction with a COMMIT of its own: it gets an empty one to end.
  await tx`commit and chain`;
}
