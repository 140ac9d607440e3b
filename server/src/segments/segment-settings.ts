// Connection settings that a segment gives to its targets.
import type { PutSegmentSettingsRequest, SegmentSettings } from '@opsconductor/protocol';
import { recordAudit } from '../audit/record-audit.ts';
import { MissingPermission } from '../auth/missing-permission.ts';
import { auditedBy, type Caller } from '../caller.ts';
import { refuseChanged } from '../conflicts/refuse-changed.ts';
import { invalidField } from '../errors.ts';
import {
  lockSegmentSettings,
  readSegmentSettings,
  writeSegmentSettings,
} from '../store/agents/segment-settings.ts';
import type { Queryable, Sql } from '../store/database/connection.ts';
import { inTransaction } from '../store/database/transaction.ts';
import { lockCredential } from '../store/targets/credentials.ts';
import { requireJumpHosts } from '../targets/jump-hosts.ts';
import { segmentFor } from './segment-for.ts';

/** @throws {AppError} `not_found`. */
export async function getSegmentSettings(
  sql: Queryable,
  segmentId: number,
  caller: Pick<Caller, 'name' | 'authority'>,
): Promise<SegmentSettings> {
  await segmentFor(sql, segmentId, 'read', caller);
  return readSegmentSettings(sql, segmentId);
}

/**
 * Changes what a segment gives to its targets; what the request leaves out stays unchanged.
 * @throws {AppError} `not_found`; `forbidden` without `segments.edit`, or for another credential without
 * `credentials.use`; `invalid` for a credential of another segment; `conflict` if a field does not have the value that
 * the request expects.
 */
export async function putSegmentSettings(
  sql: Sql,
  segmentId: number,
  request: PutSegmentSettingsRequest,
  caller: Caller,
): Promise<SegmentSettings> {
  return inTransaction(sql, async (tx) => {
    const segment = await segmentFor(tx, segmentId, 'segments.edit', caller);
    await lockSegmentSettings(tx, segmentId);
    const before = await readSegmentSettings(tx, segmentId);
    const { credentialName: _, ...from } = before;
    refuseChanged(`What segment ${segment.name} gives`, from, request.expected);
    const { settings = before.settings, credentialId = before.credentialId } = request;
    if (credentialId !== null && credentialId.toLowerCase() !== before.credentialId) {
      if ((await lockCredential(tx, credentialId))?.segmentId !== segmentId) {
        throw invalidField('credentialId', 'There is no such credential in this segment.');
      }
      if (!caller.authority.holdsOnSegment('credentials.use', segmentId)) {
        throw new MissingPermission(caller, 'credentials.use', `segment “${segment.name}”`);
      }
    }
    const names = settings.jump_hosts;
    await requireJumpHosts(tx, caller, { names, before: before.settings.jump_hosts, segmentId });
    await writeSegmentSettings(tx, segmentId, { settings, credentialId });
    await recordAudit(tx, {
      ...auditedBy(caller),
      action: 'segment.settings_changed',
      object: { kind: 'segment', id: segmentId },
      detail: { from, to: { settings, credentialId } },
      scope: { segmentId },
    });
    return readSegmentSettings(tx, segmentId);
  });
}
