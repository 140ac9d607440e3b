// Counts how many rows some work reads, by the connection's own statistics: rows of an index, and rows of its table if
// that is scanned.
import type { Queryable, Sql, Tx } from '../connection.ts';

/** Runs the work in a transaction. `rows` counts those of the given table and its indexes. */
export async function rowsRead<T>(
  sql: Sql,
  table: string,
  work: (db: Queryable) => Promise<T>,
): Promise<{ rows: number; found: T }> {
  return (await sql.begin(async (transaction) => {
    const tx = transaction as unknown as Tx;
    const before = await readSoFar(tx, table);
    const found = await work(tx);
    return { rows: (await readSoFar(tx, table)) - before, found };
  })) as { rows: number; found: T };
}

async function readSoFar(tx: Tx, table: string): Promise<number> {
  const [row] = await tx<{ read: number }[]>`
    select sum(pg_stat_get_xact_tuples_returned(oid))::int as read from (
      select indexrelid as oid from pg_index where indrelid = ${table}::regclass
      union all select ${table}::regclass) relations`;
  return row?.read ?? Number.NaN;
}
