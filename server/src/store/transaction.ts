// Transactions that take row locks are retried when the database breaks a deadlock or a serialization conflict.
import { type Sql, sqlState, type Tx } from './connection.ts';

const retried = new Set(['40P01', '40001']);
const maxTries = 5;

/** Runs the work in one transaction; it must be free of effects outside the database, as it may run again. */
export async function inTransaction<T>(sql: Sql, work: (tx: Tx) => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries += 1) {
    try {
      return (await sql.begin((tx) => work(tx as unknown as Tx))) as T;
    } catch (error) {
      if (tries >= maxTries || !retried.has(sqlState(error) ?? '')) throw error;
    }
  }
}

/**
 * Commits in the same round trip what is sent just before it: call it last, and wait for it together with that. A
 * statement among those that fails leaves nothing committed, and rejects by itself.
 */
export async function commitWithThese(tx: Tx): Promise<void> {
  // The driver ends every transaction with a COMMIT of its own: it gets an empty one to end.
  await tx`commit and chain`;
}
