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
  /** Altered or moved: no key opens these, and some name none. */
  damaged: Rows;
  /** Wrapped by keys that are not in the ring. */
  lacking: Rows;
  /** Named here as they were; they name the active key now, which does not open them either. */
  givenUp: Rows;
}

export interface Rows {
  count: number;
  /** The first of them: table, id and the key that they name. */
  named: string[];
}

export interface RewrapOptions {
  /** What is damaged, or what names a key that is not in the ring. */
  giveUp?: 'damaged' | { keyId: string } | undefined;
  onPortion?: (rewrapped: number) => void;
}

export async function rewrapAll(
  sql: Sql,
  ring: MasterKeyRing,
  { giveUp, onPortion = () => {} }: RewrapOptions = {},
): Promise<Rewrapped> {
  const done: Rewrapped = { count: 0, damaged: noRows(), lacking: noRows(), givenUp: noRows() };
  for (const column of wrappedColumns) {
    for (let after: string | undefined; ; ) {
      const limits = { masterKeyId: ring.id, after, limit: portion };
      const { rows, sorted, changed, givenUp } = await inTransaction(sql, async (tx) => {
        const rows = await rowsWrappedByOthers(tx, column, limits);
        const sorted = sort(rows, ring, column.contextOf);
        const changed = await replaceWrapped(tx, column, sorted.moved);
        const going = toGiveUp(sorted, giveUp).map(({ id, wrapped: before }) => ({
          ...{ id, before, after: giveUpDataKey(ring, before) },
        }));
        return { rows, sorted, changed, givenUp: await replaceWrapped(tx, column, going) };
      });
      for (const kind of ['damaged', 'lacking'] as const)
        for (const row of sorted[kind]) add(done[givenUp.has(row.id) ? 'givenUp' : kind], column.table, row);
      const last = rows.at(-1);
      if (last === undefined) break;
      after = last.id;
      done.count += changed.size;
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

interface Sorted {
  moved: { id: string; before: string; after: string }[];
  damaged: WrappedRow[];
  lacking: WrappedRow[];
}

function sort(
  rows: readonly WrappedRow[],
  ring: MasterKeyRing,
  contextOf: (boundTo: string) => string,
): Sorted {
  const sorted: Sorted = { moved: [], damaged: [], lacking: [] };
  for (const row of rows) {
    const { id, boundTo, wrapped: before } = row;
    try {
      sorted.moved.push({ id, before, after: rewrapDataKey(ring, ring, before, contextOf(boundTo)) });
    } catch (error) {
      if (!(error instanceof AtRestError)) throw error;
      const isDamaged = error.reason === 'damaged' || keyIdOf(row) === undefined;
      sorted[isDamaged ? 'damaged' : 'lacking'].push(row);
    }
  }
  return sorted;
}

function toGiveUp({ damaged, lacking }: Sorted, giveUp: RewrapOptions['giveUp']): WrappedRow[] {
  if (giveUp === undefined) return [];
  return giveUp === 'damaged' ? damaged : lacking.filter((row) => keyIdOf(row) === giveUp.keyId);
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
