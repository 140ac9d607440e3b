// Searches the audit log, page by page. A search that reads much answers with what it has found so far, how far back it
// has looked, and a cursor that goes on from there.
import type { AuditPage, AuditQuery, AuditRow } from '@opsconductor/protocol';
import { limits } from '@opsconductor/protocol';
import type { Reach } from '../../auth/authority.ts';
import { AppError } from '../../errors.ts';
import {
  type AuditFilter,
  auditIds,
  type FoundAuditRow,
  idsOfPeriod,
  searchAudit,
  timeOfRow,
} from '../../store/audit/audit-search.ts';
import { type Sql, sqlState } from '../../store/database/connection.ts';
import { decodeCursor, encodeCursor, pageOf } from '../../store/database/cursor.ts';
import { readTime } from '../../validation/filter-words.ts';

const queryCancelled = '57014';
/** Ids that are searched with one statement. */
const leastSpan = 1_000;
const mostSpan = 10_000_000;
/** How many times as long as the last one a statement may take that was sized by it. */
const fastestGrowth = 4;
const spanMs = 200;

/** How long a search takes before it answers with what it has. */
export interface SearchPace {
  /** The rows of the period that is asked for are looked for so long. */
  periodMs: number;
  /**
   * All of the log or of the period is tried for so long: with an index for the filter, or with many rows that match,
   * this is enough. 0: it is not tried.
   */
  wholeMs: number;
  /** Then it is searched in spans of ids, of which no more is begun if it might end after this time. */
  totalMs: number;
  firstSpan: number;
  /** When the least that can be searched is given up. */
  spanTimeoutMs: number;
  now(): number;
}

const defaultPace: SearchPace = {
  periodMs: 250,
  wholeMs: 250,
  totalMs: 900,
  firstSpan: 20_000,
  spanTimeoutMs: 10_000,
  now: () => performance.now(),
};

/** Where a page begins, and the end of the whole search. */
interface Place {
  below: number;
  /** No row below this id can match. */
  lowest: number;
  /** How many ids are searched with the next statement; 0 if all are. */
  span: number;
}

/**
 * Newest first.
 * @throws {AppError} `unavailable` if not even a short part of the log can be searched in time.
 */
export async function searchLog(
  sql: Sql,
  query: AuditQuery,
  reaches: readonly Reach[],
  pace = defaultPace,
): Promise<AuditPage> {
  const endMs = pace.now() + pace.totalMs;
  const limit = query.limit ?? limits.defaultPageItems;
  const filter = filterOf(query, reaches);
  const place = query.cursor === undefined ? await firstPlace(sql, filter, pace) : placeOf(query.cursor);
  const { below, lowest } = place;
  if (place.span === 0 && pace.wholeMs > 0) {
    const page = { below, from: lowest, limit: limit + 1 };
    const rows = await unlessCancelled(searchAudit(sql, filter, page, pace.wholeMs));
    if (rows !== undefined) return pageOf(rows, limit, (row) => [row.id, lowest, 0], viewOf);
  }
  return searchBack(sql, filter, limit, place, { ...pace, endMs });
}

/** Searches from the newest row on, in spans whose length follows from how long the last one took. */
async function searchBack(
  sql: Sql,
  filter: AuditFilter,
  limit: number,
  place: Place,
  pace: SearchPace & { endMs: number },
): Promise<AuditPage> {
  let beganMs = pace.now();
  const { oldest, newest } = await auditIds(sql);
  const lowest = Math.max(oldest, place.lowest);
  let below = Math.min(place.below, newest + 1);
  let span = Math.min(Math.max(place.span || pace.firstSpan, leastSpan), mostSpan);
  const found: FoundAuditRow[] = [];
  for (;;) {
    const from = Math.max(lowest, below - span);
    const page = { from, below, limit: limit + 1 - found.length };
    const rows = await unlessCancelled(searchAudit(sql, filter, page, pace.spanTimeoutMs));
    if (rows === undefined) throw tookTooLong();
    found.push(...rows);
    if (found.length > limit) return pageOf(found, limit, (row) => [row.id, lowest, span], viewOf);
    below = from;
    if (below <= lowest) return { items: found.map(viewOf), nextCursor: null };
    const nowMs = pace.now();
    const perMs = span / Math.max(1, nowMs - beganMs);
    span = Math.round(Math.min(Math.max(perMs * spanMs, leastSpan), span * fastestGrowth, mostSpan));
    if (nowMs + spanMs > pace.endMs) break;
    beganMs = nowMs;
  }
  const searchedTo = await timeOfRow(sql, below);
  return {
    items: found.map(viewOf),
    nextCursor: encodeCursor([below, lowest, span]),
    ...(searchedTo === undefined ? {} : { searchedTo: searchedTo.toISOString() }),
  };
}

/** Begins with the newest row of the period, if the rows of the period are found in time. */
async function firstPlace(sql: Sql, filter: AuditFilter, { periodMs }: SearchPace): Promise<Place> {
  const all = { below: Number.MAX_SAFE_INTEGER, lowest: 0, span: 0 };
  if (filter.from === undefined && filter.to === undefined) return all;
  const ids = await unlessCancelled(idsOfPeriod(sql, filter, periodMs));
  return ids === undefined ? all : { below: ids.highest + 1, lowest: ids.lowest, span: 0 };
}

function placeOf(cursor: string): Place {
  const [below, lowest, span] = decodeCursor(cursor, ['number', 'number', 'number'] as const);
  return { below, lowest, span };
}

async function unlessCancelled<T>(search: Promise<T>): Promise<T | undefined> {
  try {
    return await search;
  } catch (error) {
    if (sqlState(error) === queryCancelled) return undefined;
    throw error;
  }
}

function tookTooLong(): AppError {
  return new AppError('unavailable', 'The search took too long. Give a shorter time range, or fewer words.');
}

/** @throws {AppError} `invalid` for a time that does not exist. */
export function filterOf(
  query: Omit<AuditQuery, 'limit' | 'cursor'>,
  reaches: readonly Reach[],
): AuditFilter {
  const { actor, actorKind, action, objectKind, objectId, segmentId, categoryId, address, text } = query;
  return {
    actor,
    actorKind,
    action,
    objectKind,
    objectId,
    segmentId,
    categoryId,
    address,
    text,
    from: readTime(query.from, 'query.from'),
    to: readTime(query.to, 'query.to'),
    reaches,
  };
}

function viewOf(row: FoundAuditRow): AuditRow {
  return {
    ...row,
    at: new Date(row.at).toISOString(),
    actorKind: row.actorKind as AuditRow['actorKind'],
    detail: row.detail as Record<string, unknown>,
  };
}
