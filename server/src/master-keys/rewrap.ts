// Rewraps all data keys with the active master key; what the data keys encrypt stays unchanged. This may be interrupted
// at any moment and repeated, and may run beside servers: a row is changed only if it is still as it was read. A row
// that can't be opened doesn't keep the others from being rewrapped.

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
} from '../store/installation/wrapped-keys.ts';
import { wrappedColumns } from './wrapped-columns.ts';

const portion = 500;
const maxNamed = 20;

export interface Rewrapped {
  count: number;
  /** Rows that were altered or moved: no key opens them, and some name no key at all. */
  damaged: Rows;
  /** Rows that are wrapped by keys that aren't in the ring. */
  lacking: Rows;
  /**
   * Rows that were given up, listed with the key they named before. They now name the active key, which can't open
   * them.
   */
  givenUp: Rows;
}

export interface Rows {
  count: number;
  /** The first of them, each with its table, its id and the key that it names. */
  named: string[];
}

export interface RewrapOptions {
  /** Which rows to give up: those that are damaged, or those that name this key, which isn't in the ring. */
  giveUp?: 'damaged' | { keyId: string } | undefined;
  onPortion?: (rewrapped: number) => void;
}

/**
 * Wraps every data key with the master key in use, in portions of a transaction each: it may be interrupted and run
 * again.
 * @returns how many were wrapped, and the rows that could not be
 */
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
          id,
          before,
          after: giveUpDataKey(ring, before),
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

/** Returns the number of keys that each master key wraps, by its id. */
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

/** Returns `undefined` if the text no longer names a key. */
function keyIdOf({ wrapped }: WrappedRow): string | undefined {
  const id = wrapped.split('.')[1] ?? '';
  return isMasterKeyId(id) ? id : undefined;
}
