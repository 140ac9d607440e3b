import type { Queryable } from '../../database/connection.ts';

/** Tells the other servers how far transfers are. Nothing is stored. */
export async function tellTransfers(db: Queryable, payload: string): Promise<void> {
  await db`select pg_notify('opsc_transfer', ${payload})`;
}
