import type { Segment } from '@opsconductor/protocol';
import { fingerprint } from '@opsconductor/protocol/sealing';
import { notFound } from '../errors.ts';
import type { Queryable } from '../store/connection.ts';
import { listSegmentOverviews, type SegmentOverviewRow } from '../store/segments.ts';

/** Every segment by name: an installation has tens of them, so the list is whole. */
export async function listSegments(sql: Queryable): Promise<Segment[]> {
  return Promise.all((await listSegmentOverviews(sql)).map(toSegment));
}

/** @throws {AppError} `not_found`. */
export async function getSegment(sql: Queryable, id: number): Promise<Segment> {
  const [row] = await listSegmentOverviews(sql, id);
  if (row === undefined) throw notFound('Segment');
  return toSegment(row);
}

async function toSegment(row: SegmentOverviewRow): Promise<Segment> {
  return {
    id: row.id,
    name: row.name,
    description: row.description,
    unknownAfter: row.unknownAfterS,
    root: row.rootMode,
    rootFingerprint: await fingerprint(row.rootKey),
    keyGeneration: row.keyGeneration,
    health: healthOf(row),
    targetCount: row.targetCount,
    waitingSteps: row.waitingSteps,
    createdAt: row.createdAt.toISOString(),
  };
}

/** healthy: every active agent takes steps · degraded: some do, or those connected drain · offline: none is connected. */
export function healthOf(
  counts: Pick<SegmentOverviewRow, 'activeAgents' | 'connectedAgents' | 'drainingAgents'>,
): Segment['health'] {
  if (counts.activeAgents === 0) return 'no_agent';
  if (counts.connectedAgents === 0) return 'offline';
  const all = counts.connectedAgents === counts.activeAgents && counts.drainingAgents === 0;
  return all ? 'healthy' : 'degraded';
}
