import type { Queryable } from './connection.ts';

/** Returns how much disk space the database takes, in bytes. */
export async function databaseBytes(db: Queryable): Promise<number> {
  const [row] = await db<{ bytes: number }[]>`select pg_database_size(current_database()) as bytes`;
  return row?.bytes ?? 0;
}
