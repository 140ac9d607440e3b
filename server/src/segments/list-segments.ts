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
import { notFound } from '../errors.ts';
import { refuseUnstorableText } from '../storable-text.ts';
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
import { toSign } from './owner-held/read-roster.ts';

/**
 * Returns the segments within the reaches by name, and with the first page the names of those in which only some targets
 * may be seen. Without a limit or a cursor, all are on one page.
 */
export async function listSegments(
  sql: Queryable,
  reaches: readonly Reach[],
  query: SegmentQuery = {},
): Promise<Static<typeof SegmentListSchema>> {
  refuseUnstorableText(query, 'query');
  const { cursor, search, searchIn, permission } = query;
  const limit = query.limit ?? (cursor === undefined ? undefined : limits.defaultPageItems);
  const beyond = cursor === undefined ? undefined : decodeCursor(cursor, ['string'])[0];
  const isNaming = beyond === undefined && permission === undefined && !reachesEverything(reaches);
  const [rows, named] = await Promise.all([
    listSegmentOverviews(sql, reaches, {
      search,
      searchIn,
      beyond,
      limit: limit === undefined ? undefined : limit + 1,
    }),
    isNaming ? listNamedSegments(sql, reaches, { search, limit }) : [],
  ]);
  const { items, nextCursor } = pageOf(
    rows,
    limit ?? rows.length,
    ({ name }) => [name],
    (row) => row,
  );
  return { items: await Promise.all(items.map((row) => toSegment(sql, row))), named, nextCursor };
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
 * healthy: every active agent takes steps; degraded: some do, or the connected ones drain; offline: none is connected.
 */
export function healthOf(counts: AgentCounts): Segment['health'] {
  if (counts.activeAgents === 0) return 'no_agent';
  if (counts.connectedAgents === 0) return 'offline';
  const all = counts.connectedAgents === counts.activeAgents && counts.drainingAgents === 0;
  return all ? 'healthy' : 'degraded';
}
