// Updates of many rows in a transaction, some of which the database may refuse to write.
import type { Tx } from '../../database/connection.ts';
import { isRefused } from '../../database/refused-statement.ts';
import type { Condition } from '../../people/visibility.ts';

/** Updates those rows of a table that meet the condition. */
type Update = (tx: Tx, where: Condition) => PromiseLike<{ count: number }>;

export interface RowsToWrite {
  table: string;
  key: string;
  where: Condition;
}

/**
 * Updates rows: all at once or, if `apart`, except those that the database refuses to write. Returns how many were
 * written.
 */
export async function writeRows(
  tx: Tx,
  { table, key, where }: RowsToWrite,
  apart: boolean,
  update: Update,
): Promise<number> {
  if (!apart) return (await update(tx, where)).count;
  const rows = await tx<
    { id: number }[]
  >`select ${tx(key)} as id from ${tx(table)} where ${where} order by 1`;
  return writeThose(
    tx,
    rows.map(({ id }) => id),
    (db, ids) => update(db, db`${db(table)}.${db(key)} = any(${ids as number[]}::bigint[])`),
  );
}

/** Halves what the database refuses, until it takes each half or the half is a single row. */
async function writeThose(
  tx: Tx,
  ids: readonly number[],
  update: (tx: Tx, ids: readonly number[]) => PromiseLike<{ count: number }>,
): Promise<number> {
  if (ids.length === 0) return 0;
  try {
    return await tx.savepoint(async (part) => (await update(part as unknown as Tx, ids)).count);
  } catch (error) {
    if (!isRefused(error)) throw error;
    if (ids.length === 1) return 0;
    const half = Math.ceil(ids.length / 2);
    const written = await writeThose(tx, ids.slice(0, half), update);
    return written + (await writeThose(tx, ids.slice(half), update));
  }
}
