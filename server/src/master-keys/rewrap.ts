// Takes all wrapped keys to the active master key. What they encrypt stays as it is. It may be cut off at any moment and begun
// again, and run beside servers: each row is changed only where it is still what it was. One that can't be opened stops no other.

import { AtRestError } from '../credentials/at-rest/at-rest-error.ts';
import { giveUpDataKey, rewrapDataKey } from '../credentials/at-rest/data-key.ts';
import { isMasterKeyId } from '../credentials/at-rest/master-key.ts';
import type { MasterKeyRing } from '../credentials/at-rest/master-key-ring.ts';
import type { Sql } from '../store/database/connection.ts';
import { inTransaction } from '../store/database/transaction.ts';
import {
  countWrapped,
  replaceWrapped,
  rowsWrappedByOthers,
  type WrappedRow,
} from '../store/database/wrapped-keys.ts';
import { wrappedColumns } from './wrapped-columns.ts';

const portion = 500;
const maxNamed = 20;

export interface Rewrapped {
  count: number;
  /** Altered or moved: no key opens these. With `giveUp` those of a key of the ring name the active one now. */
  damaged: Rows;
  /** Wrapped by keys that are not in the ring. */
  lacking: Rows;
}

export interface Rows {
  count: number;
  /** The first of them: table, id and the key that they name. */
  named: string[];
}

export interface RewrapOptions {
  giveUp?: boolean;
  onPortion?: (rewrapped: number) => void;
}

export async function rewrapAll(
  sql: Sql,
  ring: MasterKeyRing,
  { giveUp = false, onPortion = () => {} }: RewrapOptions = {},
): Promise<Rewrapped> {
  const done: Rewrapped = { count: 0, damaged: noRows(), lacking: noRows() };
  for (const column of wrappedColumns) {
    for (let after: string | undefined; ; ) {
      const limits = { masterKeyId: ring.id, after, limit: portion };
      const { rows, sorted, changed } = await inTransaction(sql, async (tx) => {
        const rows = await rowsWrappedByOthers(tx, column, limits);
        const sorted = sort(rows, ring, column.contextOf);
        const changed = await replaceWrapped(tx, column, sorted.moved);
        if (giveUp) await replaceWrapped(tx, column, sorted.givenUp);
        return { rows, sorted, changed };
      });
      for (const row of sorted.damaged) add(done.damaged, column.table, row);
      for (const row of sorted.lacking) add(done.lacking, column.table, row);
      const last = rows.at(-1);
      if (last === undefined) break;
      after = last.id;
      done.count += changed;
      onPortion(done.count);
    }
  }
  return done;
}

/** How many keys each master key wraps. */
export async function countAllWrapped(sql: Sql): Promise<Map<string, number>> {
  const all = new Map<string, number>();
  for (const column of wrappedColumns) {
    for (const [id, count] of await countWrapped(sql, column)) all.set(id, (all.get(id) ?? 0) + count);
  }
  return all;
}

interface Change {
  id: string;
  before: string;
  after: string;
}

function sort(rows: readonly WrappedRow[], ring: MasterKeyRing, contextOf: (boundTo: string) => string) {
  const moved: Change[] = [];
  const givenUp: Change[] = [];
  const damaged: WrappedRow[] = [];
  const lacking: WrappedRow[] = [];
  for (const row of rows) {
    const { id, boundTo, wrapped: before } = row;
    try {
      moved.push({ id, before, after: rewrapDataKey(ring, ring, before, contextOf(boundTo)) });
    } catch (error) {
      if (!(error instanceof AtRestError)) throw error;
      if (error.reason === 'damaged') {
        damaged.push(row);
        if (keyIdOf(row) !== undefined) givenUp.push({ id, before, after: giveUpDataKey(ring, before) });
      } else lacking.push(row);
    }
  }
  return { moved, givenUp, damaged, lacking };
}

function noRows(): Rows {
  return { count: 0, named: [] };
}

function add(rows: Rows, table: string, row: WrappedRow): void {
  rows.count += 1;
  if (rows.named.length < maxNamed) rows.named.push(`${table} ${row.id} (${keyIdOf(row) ?? 'no key’s id'})`);
}

/** Undefined where the text names no key any more. */
function keyIdOf({ wrapped }: WrappedRow): string | undefined {
  const id = wrapped.split('.')[1] ?? '';
  return isMasterKeyId(id) ? id : undefined;
}
