import { recordAudit } from '../audit/record-audit.ts';
import { auditedBy, type Caller } from '../caller.ts';
import { AppError, notFound } from '../errors.ts';
import { recordGoingGrants } from '../people/audit-grants.ts';
import {
  deleteSegment as deleteRow,
  lockSegment,
  type SegmentContents,
  segmentContents,
} from '../store/agents/segments.ts';
import type { Sql } from '../store/database/connection.ts';
import { inTransaction } from '../store/database/transaction.ts';
import { lockMembership } from '../store/targets/target-group-members.ts';
import { segmentFor } from './segment-for.ts';

/** Runs that a refusal names: nothing else tells which runs had targets in a segment once those are gone. */
const maxNamedRuns = 20;

/**
 * Deletes a segment that nothing belongs to any more, with its keys, revoked agents, unused enrollment tokens, host
 * trust and the grants on it. Ids are not given again, so nothing that names the old segment can reach a new one.
 *
 * @throws {AppError} `not_found`; `forbidden` without `segments.edit`; `conflict` while it has targets, agents that are
 * not revoked, credentials or inventories, or while runs on its targets are kept.
 */
export async function deleteSegment(sql: Sql, segmentId: number, caller: Caller): Promise<void> {
  await inTransaction(sql, async (tx) => {
    // Everyone who makes a target holds this, so that none comes in between.
    await lockMembership(tx);
    await segmentFor(tx, segmentId, 'segments.edit', caller);
    const segment = await lockSegment(tx, segmentId);
    if (segment === undefined) throw notFound('Segment');
    const contents = await segmentContents(tx, segmentId, { runs: maxNamedRuns + 1 });
    refuseContents(segment.name, contents);
    const grants = await recordGoingGrants(tx, { kind: 'segment', id: segmentId }, caller);
    await deleteRow(tx, segmentId);
    await recordAudit(tx, {
      ...auditedBy(caller),
      action: 'segment.deleted',
      object: { kind: 'segment', id: segmentId },
      scope: { segmentId },
      detail: { name: segment.name, revokedAgents: contents.revokedAgents, grants },
    });
  });
}

function refuseContents(name: string, contents: SegmentContents): void {
  const kinds = [
    [contents.targets, 'target', 'targets', 'delete or move them'],
    [contents.agents, 'agent that is not revoked', 'agents that are not revoked', 'revoke them'],
    [contents.credentials, 'credential', 'credentials', 'delete them'],
    [contents.inventories, 'inventory', 'inventories', 'delete them or give them another segment'],
  ] as const;
  const has = kinds.filter(([count]) => count > 0);
  if (has.length > 0) {
    const found = has.map(([count, one, many]) => `${count} ${count === 1 ? one : many}`).join(', ');
    const ways = has.map(([, , many, way]) => `${many}: ${way}`).join('; ');
    throw new AppError(
      'conflict',
      `Segment “${name}” still has ${found}. It can be deleted once it has none (${ways}).`,
    );
  }
  if (contents.runs.length > 0) {
    const named = contents.runs.slice(0, maxNamedRuns).join(', ');
    const more = contents.runs.length > maxNamedRuns ? ', and older ones' : '';
    throw new AppError(
      'conflict',
      `Runs on targets of segment “${name}” are still kept: ${named}${more}. It can be deleted once they are purged, or have been removed by --run-retention-days.`,
    );
  }
}
