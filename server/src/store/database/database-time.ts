import type { Queryable } from './connection.ts';

/** Returns what the clock of the database says. */
export async function databaseTime(db: Queryable): Promise<Date> {
  const [row] = await db<[{ now: Date }]>`select clock_timestamp() as now`;
  return row.now;
}
