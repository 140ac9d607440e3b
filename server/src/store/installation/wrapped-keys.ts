// Keys wrapped by the master key, wherever they are stored: used to rewrap all of them with another master key.
import type { Queryable, Tx } from '../database/connection.ts';

/** A column of wrapped keys. */
export interface WrappedColumn {
  table: string;
  column: string;
  /** The column is a bytea that holds the text, rather than text. */
  isBytes: boolean;
  idType: 'bigint' | 'uuid';
  /** The column to whose value the wrap is bound, if that is not the row's id. */
  boundTo?: string;
}

export interface WrappedRow {
  id: string;
  boundTo: string;
  wrapped: string;
}

/** Returns the next rows, ordered by id, that are wrapped by a master key other than this one. */
export async function rowsWrappedByOthers(
  tx: Tx,
  column: WrappedColumn,
  { masterKeyId, after, limit }: { masterKeyId: string; after: string | undefined; limit: number },
): Promise<WrappedRow[]> {
  const text = textOf(tx, column);
  const later =
    after === undefined
      ? tx`true`
      : column.idType === 'uuid'
        ? tx`id > ${after}::uuid`
        : tx`id > ${after}::bigint`;
  return tx<WrappedRow[]>`
    select id::text as id, ${tx(column.boundTo ?? 'id')}::text as bound_to, ${text} as wrapped
    from ${tx(column.table)} where ${later} and split_part(${text}, '.', 2) <> ${masterKeyId}
    order by ${tx(column.table)}.id limit ${limit}`;
}

/** Replaces each value only if it is still the previous one. Returns the ids of the replaced rows. */
export async function replaceWrapped(
  tx: Tx,
  column: WrappedColumn,
  rows: readonly { id: string; before: string; after: string }[],
): Promise<ReadonlySet<string>> {
  if (rows.length === 0) return new Set();
  const after = column.isBytes ? tx`decode(x.after, 'escape')` : tx`x.after`;
  const id = column.idType === 'uuid' ? tx`x.id::uuid` : tx`x.id::bigint`;
  const changed = await tx<{ id: string }[]>`
    update ${tx(column.table)} t set ${tx(column.column)} = ${after}
    from jsonb_to_recordset(${tx.json(rows as never)}) as x(id text, before text, after text)
    where t.id = ${id} and ${textOf(tx, column)} = x.before
    returning x.id`;
  return new Set(changed.map((row) => row.id));
}

/** Returns how many keys are wrapped by each master key. */
export async function countWrapped(sql: Queryable, column: WrappedColumn): Promise<Map<string, number>> {
  const rows = await sql<{ keyId: string; count: number }[]>`
    select split_part(${textOf(sql, column)}, '.', 2) as key_id, count(*)::int as count
    from ${sql(column.table)} where ${sql(column.column)} is not null group by 1`;
  return new Map(rows.map(({ keyId, count }) => [keyId, count]));
}

/** Also works for bytes that were altered so that they are no text. */
function textOf(sql: Queryable, { column, isBytes }: WrappedColumn) {
  return isBytes ? sql`encode(${sql(column)}, 'escape')` : sql`${sql(column)}`;
}
