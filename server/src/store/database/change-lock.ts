// Locks that let changes of one kind happen one after the other. Whoever waits keeps a connection of the pool, so nobody
// waits without a bound.
import type { Tx } from './connection.ts';
import { boundLockWaits } from './transaction.ts';

/** Applying an import of 12,000 hosts holds such a lock for 2 s. */
export const maxChangeWaitMs = 10_000;

/**
 * Takes a lock until the transaction ends. From here on the transaction waits at most `mostMs` for each lock, row locks
 * included: who holds this one must not wait for ever either. Then it fails with 55P03.
 */
export async function takeChangeLock(tx: Tx, key: number, mostMs = maxChangeWaitMs): Promise<void> {
  // Sent together.
  await Promise.all([boundLockWaits(tx, mostMs), tx`select pg_advisory_xact_lock(${key})`]);
}

/** As `takeChangeLock`, but many may hold it at once. Whoever takes it alone waits for them, and they for that one. */
export async function shareChangeLock(tx: Tx, key: number, mostMs = maxChangeWaitMs): Promise<void> {
  // Sent together.
  await Promise.all([boundLockWaits(tx, mostMs), tx`select pg_advisory_xact_lock_shared(${key})`]);
}

const lockNotAvailable = '55P03';

/** Whether a statement was given up because others held a lock that it needs. The transaction was rolled back. */
export function isLockTaken(error: unknown): boolean {
  return (error as { code?: unknown } | undefined)?.code === lockNotAvailable;
}
