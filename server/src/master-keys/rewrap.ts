// Takes all wrapped keys to the active master key. What they encrypt stays as it is. It may be cut off at any moment and begun
// again, and run beside servers: each row is changed only where it is still what it was.

import { AtRestError } from '../credentials/at-rest/at-rest-error.ts';
import { masterKeyIdOf, rewrapDataKey } from '../credentials/at-rest/data-key.ts';
import type { MasterKeyRing } from '../credentials/at-rest/master-key-ring.ts';
import type { Sql } from '../store/database/connection.ts';
import { inTransaction } from '../store/database/transaction.ts';
import { countWrapped, replaceWrapped, rowsWrappedByOthers } from '../store/database/wrapped-keys.ts';
import { wrappedColumns } from './wrapped-columns.ts';

const portion = 500;

/** @returns how many keys were wrapped anew. @throws {AtRestError} where one is wrapped by a key that is not in the ring. */
export async function rewrapAll(
  sql: Sql,
  ring: MasterKeyRing,
  onPortion: (rewrapped: number) => void = () => {},
): Promise<number> {
  let rewrapped = 0;
  for (const column of wrappedColumns) {
    for (let after: string | undefined; ; ) {
      const { last, changed } = await inTransaction(sql, async (tx) => {
        const rows = await rowsWrappedByOthers(tx, column, { masterKeyId: ring.id, after, limit: portion });
        const moved = rows.map(({ id, boundTo, wrapped }) => ({
          ...{ id, before: wrapped },
          after: rewrapDataKey(fromOf(ring, wrapped), ring, wrapped, column.contextOf(boundTo)),
        }));
        return { last: rows.at(-1)?.id, changed: await replaceWrapped(tx, column, moved) };
      });
      if (last === undefined) break;
      after = last;
      rewrapped += changed;
      onPortion(rewrapped);
    }
  }
  return rewrapped;
}

/** How many keys each master key wraps. */
export async function countAllWrapped(sql: Sql): Promise<Map<string, number>> {
  const all = new Map<string, number>();
  for (const column of wrappedColumns) {
    for (const [id, count] of await countWrapped(sql, column)) all.set(id, (all.get(id) ?? 0) + count);
  }
  return all;
}

function fromOf(ring: MasterKeyRing, wrapped: string) {
  const id = masterKeyIdOf(wrapped);
  const from = ring.find(id);
  if (from !== undefined) return from;
  throw new AtRestError(
    'wrong_master_key',
    `A key is wrapped by master key ${id}, which is not in the master key file.`,
  );
}
