import {
  type ExecutorOverview,
  limits,
  type Segment,
  type SegmentListSchema,
  type SegmentQuery,
} from '@opsconductor/protocol';
import { fingerprint } from '@opsconductor/protocol/sealing';
import type { Static } from 'typebox';
import type { Reach } from '../auth/authority.ts';
import { AppError, notFound } from '../errors.ts';
import {
  type AgentCounts,
  countSegmentsByAgents,
  listNamedSegments,
  listSegmentOverviews,
  type SegmentOverviewRow,
} from '../store/agents/segments.ts';
import type { Queryable } from '../store/database/connection.ts';
import { decodeCursor, pageOf } from '../store/database/cursor.ts';
import { reachesEverything } from '../store/people/visibility.ts';
import { refuseUnstorableText } from '../validation/storable-text.ts';
import { toSign } from './owner-held/read-roster.ts';

/**
 * Returns the segments within the reaches by name, and with the first page the names of those in which only some targets
 * may be seen. Without a limit or a cursor, all are on one page. With a cursor of the names, it returns only these.
 */
export async function listSegments(
  sql: Queryable,
  reaches: readonly Reach[],
  query: SegmentQuery = {},
): Promise<Static<typeof SegmentListSchema>> {
  refuseUnstorableText(query, 'query');
  const { cursor, namedCursor, search, searchIn, permission } = query;
  if (cursor !== undefined && namedCursor !== undefined) throw twoCursors();
  const isWhole = query.limit === undefined && cursor === undefined && namedCursor === undefined;
  const limit = isWhole ? undefined : (query.limit ?? limits.defaultPageItems);
  const ask = {
    search,
    limit: limit === undefined ? undefined : limit + 1,
    beyond: beyondCursor('query.cursor', cursor) ?? beyondCursor('query.namedCursor', namedCursor),
  };
  const isNaming = cursor === undefined && permission === undefined && !reachesEverything(reaches);
  const [rows, names] = await Promise.all([
    namedCursor === undefined ? listSegmentOverviews(sql, reaches, { ...ask, searchIn }) : [],
    isNaming ? listNamedSegments(sql, reaches, ask) : [],
  ]);
  const { items, nextCursor } = pageByName(rows, limit);
  const named = pageByName(names, limit);
  return {
    items: await Promise.all(items.map((row) => toSegment(sql, row))),
    named: named.items,
    nextCursor,
    nextNamedCursor: named.nextCursor,
  };
}

function beyondCursor(field: string, cursor: string | undefined): string | undefined {
  return cursor === undefined ? undefined : decodeCursor(cursor, ['string'], field)[0];
}

function pageByName<R extends { name: string }>(rows: readonly R[], limit: number | undefined) {
  return pageOf(
    rows,
    limit ?? rows.length,
    ({ name }) => [name],
    (row) => row,
  );
}

function twoCursors(): AppError {
  const message = 'Continue either the list with cursor or the names with namedCursor, one at a time.';
  return new AppError('invalid', message, { details: [{ path: 'query.namedCursor', message }] });
}

/** @throws {AppError} `not_found`, also for a segment outside the reaches. */
export async function getSegment(sql: Queryable, id: number, reaches: readonly Reach[]): Promise<Segment> {
  const [row] = await listSegmentOverviews(sql, reaches, { id });
  if (row === undefined) throw notFound('Segment');
  return toSegment(sql, row);
}

async function toSegment(sql: Queryable, row: SegmentOverviewRow): Promise<Segment> {
  return {
    id: row.id,
    name: row.name,
    description: row.description,
    unknownAfter: row.unknownAfterS,
    root: row.rootMode,
    rootFingerprint: await fingerprint(row.rootKey),
    toSign: await toSign(sql, row),
    lostRoster: row.lostRoster,
    keyGeneration: row.keyGeneration,
    health: healthOf(row),
    targetCount: row.targetCount,
    waitingSteps: row.waitingSteps,
    keyRotationWantedAt: row.keyRotationWantedAt?.toISOString() ?? null,
    credentialsToRotate: row.credentialsToRotate,
    createdAt: row.createdAt.toISOString(),
  };
}

/** Returns how many segments within the reaches have each health. */
export async function countSegments(
  sql: Queryable,
  reaches: readonly Reach[],
): Promise<ExecutorOverview['segments']> {
  const counts = { healthy: 0, degraded: 0, offline: 0, no_agent: 0 };
  for (const row of await countSegmentsByAgents(sql, reaches)) counts[healthOf(row)] += row.segments;
  return counts;
}

/**
 * healthy: every active agent takes steps; degraded: some do, or the connected ones drain; offline: none is connected,
 * or all are disabled or quarantined.
 */
export function healthOf(counts: AgentCounts): Segment['health'] {
  if (counts.activeAgents === 0 && counts.barredAgents === 0) return 'no_agent';
  if (counts.connectedAgents === 0) return 'offline';
  const all = counts.connectedAgents === counts.activeAgents && counts.drainingAgents === 0;
  return all ? 'healthy' : 'degraded';
}
