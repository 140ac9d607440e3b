import type { Segment } from '@opsconductor/protocol';
import { recordAudit } from '../audit/record-audit.ts';
import { auditedBy, type Caller } from '../caller.ts';
import { lockSegmentSettings } from '../store/agents/segment-settings.ts';
import { writeUnknownAfter } from '../store/agents/segments.ts';
import type { Sql } from '../store/database/connection.ts';
import { inTransaction } from '../store/database/transaction.ts';
import { getSegment } from './list-segments.ts';
import { segmentFor } from './segment-for.ts';

/**
 * Changes how long agents of a segment may be silent. No deadlines are stored, so it applies at once, even to what
 * agents have begun and to agents that are already silent.
 * @throws {AppError} `not_found`; `forbidden` without `segments.edit`.
 */
export async function changeUnknownAfter(
  sql: Sql,
  segmentId: number,
  unknownAfterS: number,
  caller: Caller,
): Promise<Segment> {
  return inTransaction(sql, async (tx) => {
    await segmentFor(tx, segmentId, 'segments.edit', caller);
    await lockSegmentSettings(tx, segmentId);
    const before = await segmentFor(tx, segmentId, 'segments.edit', caller);
    if (before.unknownAfterS === unknownAfterS)
      return getSegment(tx, segmentId, caller.authority.reach('read'));
    await writeUnknownAfter(tx, segmentId, unknownAfterS);
    await recordAudit(tx, {
      ...auditedBy(caller),
      action: 'segment.unknown_after_changed',
      object: { kind: 'segment', id: segmentId },
      detail: { segment: before.name, from: before.unknownAfterS, to: unknownAfterS },
      scope: { segmentId },
    });
    return getSegment(tx, segmentId, caller.authority.reach('read'));
  });
}
