// Starts and cancels scans. Results are recorded in record-scanned.ts and reviewed in read-scans.ts.
import { type CreateHostScanRequest, type HostScanDetail, limits } from '@opsconductor/protocol';
import { recordAudit } from '../audit/record-audit.ts';
import { MissingPermission } from '../auth/missing-permission.ts';
import { auditedBy, type Caller } from '../caller.ts';
import { AppError } from '../errors.ts';
import { type Sql, violatedConstraint } from '../store/database/connection.ts';
import { inTransaction } from '../store/database/transaction.ts';
import { scanTargetsOutside } from '../store/host-keys/host-scan-review.ts';
import { cancelScan, insertScan, type ScanTargetRow, selectToScan } from '../store/host-keys/host-scans.ts';
import { connectionOf } from '../targets/connection-of.ts';
import { requireWays } from '../targets/jump-hosts.ts';
import { readSelection, refuseTooMany, requireFound } from '../targets/selection/read-selection.ts';
import { getScan, requireScan } from './read-scans.ts';

/** How often the targets are selected again because some of them were deleted meanwhile. */
const maxTries = 5;

/**
 * Has the agents of the selected targets' segments look at these targets, logging in only to jump hosts on the way.
 * @throws {AppError} `not_found` for ids that the caller does not see; `invalid` for an empty or too large selection;
 * `forbidden` if the caller may not test one of the targets, or may not use the credential of a jump host.
 */
export async function createScan(
  sql: Sql,
  request: CreateHostScanRequest,
  caller: Caller,
): Promise<HostScanDetail> {
  for (let tries = 1; ; tries += 1) {
    try {
      const id = await beginScan(sql, request, caller);
      return await getScan(sql, id, caller.authority.reach('read'));
    } catch (error) {
      if (violatedConstraint(error) !== 'host_scan_items_target_id_fkey' || tries === maxTries) throw error;
    }
  }
}

/** Fails with a violation of `host_scan_items_target_id_fkey` if a target was deleted since it was selected. */
function beginScan(sql: Sql, { kind, selection }: CreateHostScanRequest, caller: Caller): Promise<number> {
  const read = caller.authority.reach('read');
  return inTransaction(sql, async (tx) => {
    const { query, asked } = await readSelection(tx, selection, read, 'selection.');
    const reaches = { read, test: caller.authority.reach('targets.test') };
    const targets = await selectToScan(tx, query, reaches, limits.maxTargetsPerRun + 1);
    refuseTooMany(targets.length);
    const targetIds = targets.map((target) => target.id);
    requireFound(selection, targetIds, 'selection.');
    if (targets.length === 0) {
      const message = 'The selection contains no targets. Check what it selects, and change it.';
      throw new AppError('invalid', message, { details: [{ path: 'selection', message }] });
    }
    refuseForbidden(targets, caller);
    await requireWays(
      tx,
      caller,
      targets.map(({ settings, ...target }) => ({
        ...target,
        jumpHosts: connectionOf(settings, null).jumpHosts,
      })),
    );
    const scanId = await insertScan(tx, {
      kind,
      selection: { ...asked, selected: targets.length },
      createdBy: caller.userId,
      targetIds,
    });
    const segments = new Map<number, number>();
    for (const { segmentId } of targets) segments.set(segmentId, (segments.get(segmentId) ?? 0) + 1);
    for (const [segmentId, count] of segments) {
      await recordAudit(tx, {
        ...auditedBy(caller),
        action: 'host_scan.started',
        object: { kind: 'host_scan', id: scanId },
        detail: { kind, targets: count, selector: selection.selector ?? null },
        scope: { segmentId },
      });
    }
    return scanId;
  });
}

function refuseForbidden(targets: readonly ScanTargetRow[], caller: Caller): void {
  const outside = targets.filter((target) => !target.mayTest);
  const [first] = outside;
  if (first === undefined) return;
  const details = outside.slice(0, 100).map(({ name }) => ({
    path: 'selection',
    found: name,
    message: `You may not scan target “${name}”: that needs the permission targets.test on it.`,
  }));
  const others = outside.length === 1 ? '' : ` and ${outside.length - 1} more`;
  throw new MissingPermission(caller, 'targets.test', `target “${first.name}”${others}`, details);
}

/**
 * Ends a scan; what it has found so far stays. A scan that is over stays unchanged.
 * @throws {AppError} `not_found`; `forbidden` if the caller may not test one of its targets.
 */
export async function stopScan(sql: Sql, id: number, caller: Caller): Promise<HostScanDetail> {
  const read = caller.authority.reach('read');
  await inTransaction(sql, async (tx) => {
    await requireScan(tx, id, read);
    const [outside] = await scanTargetsOutside(tx, id, caller.authority.reach('targets.test'));
    if (outside !== undefined) {
      throw new MissingPermission(caller, 'targets.test', `target “${outside.name}”`);
    }
    const segments = await cancelScan(tx, id);
    if (segments === undefined) return;
    const entry = {
      ...auditedBy(caller),
      action: 'host_scan.cancelled',
      object: { kind: 'host_scan', id },
    };
    for (const { segmentId, targets } of segments)
      await recordAudit(tx, { ...entry, detail: { targets }, scope: { segmentId } });
    // All its targets were deleted.
    if (segments.length === 0) await recordAudit(tx, entry);
  });
  return getScan(sql, id, read);
}
