// Scans as the API shows them: their progress, and what they found compared with what is accepted.
import {
  type HostScan,
  type HostScanDetail,
  type HostScanItem,
  type HostScanItemQuery,
  limits,
  type ScanFinding,
  scanFindings,
} from '@opsconductor/protocol';
import type { Reach } from '../auth/authority.ts';
import { notFound } from '../errors.ts';
import type { Queryable } from '../store/database/connection.ts';
import { pageOf } from '../store/database/cursor.ts';
import {
  isScanSeen,
  listScanItems,
  listScans as listScanRows,
  type ReviewItemRow,
  type ScanRow,
  summarizeScan,
  waitingBySegment,
} from '../store/host-keys/host-scan-review.ts';
import { reachesEverything } from '../store/people/visibility.ts';
import { targetsOutside } from '../store/targets/targets.ts';
import { refuseUnstorableText } from '../validation/storable-text.ts';

/** Returns the scans with a target that lies in these reaches, newest first. */
export async function listScans(
  sql: Queryable,
  query: { limit?: number; cursor?: string },
  reaches: readonly Reach[],
): Promise<{ items: HostScan[]; nextCursor: string | null }> {
  const limit = query.limit ?? limits.defaultPageItems;
  const rows = await listScanRows(sql, { ...query, limit }, reaches);
  return pageOf(
    rows,
    limit,
    (row) => [row.id],
    (row) => toScan(row, reaches),
  );
}

/** @throws {AppError} `not_found`, also for a scan with no target in these reaches. */
export async function requireScan(sql: Queryable, id: number, reaches: readonly Reach[]): Promise<void> {
  if (!(await isScanSeen(sql, id, reaches))) throw notFound('Scan');
}

/**
 * `approvable`: where the reader may accept keys, if the answer should say so.
 * @throws {AppError} `not_found`.
 */
export async function getScan(
  sql: Queryable,
  id: number,
  reaches: readonly Reach[],
  approvable?: readonly Reach[],
): Promise<HostScanDetail> {
  const [[row], summary, waiting] = await Promise.all([
    listScanRows(sql, { id, limit: 1 }, reaches),
    summarizeScan(sql, id, reaches, approvable),
    waitingBySegment(sql, id, reaches),
  ]);
  if (row === undefined) throw notFound('Scan');
  const counts = Object.fromEntries(
    scanFindings.map((finding) => [finding, summary.counts[finding] ?? 0]),
  ) as Record<ScanFinding, number>;
  const reviewOf = (finding: 'new' | 'added') => {
    const found = summary.review.find((one) => one.finding === finding);
    const { targets = 0, keys = 0, digest = '', mayApprove = false } = found ?? {};
    return { targets, keys, digest, ...(approvable === undefined ? {} : { mayApprove }) };
  };
  return {
    ...toScan(row, reaches),
    counts,
    shared: summary.shared,
    review: { new: reviewOf('new'), added: reviewOf('added') },
    notices: waiting.flatMap(noticeOf),
  };
}

function noticeOf({
  segmentName,
  count,
  isScanned,
  tooOld,
}: Awaited<ReturnType<typeof waitingBySegment>>[number]): string[] {
  if (isScanned) return [];
  const targets = count === 1 ? 'One target' : `${count} targets`;
  const wait = `${targets} of segment ${segmentName} ${count === 1 ? 'waits' : 'wait'}`;
  if (tooOld.length === 0) return [`${wait}: none of its agents is connected.`];
  const agents = tooOld.map(({ name, version }) => `${name} (${version})`).join(', ');
  const verb = tooOld.length === 1 ? 'Agent' : 'Agents';
  return [
    `${wait}. ${verb} ${agents} ${tooOld.length === 1 ? 'is' : 'are'} too old to scan; update ${tooOld.length === 1 ? 'it' : 'them'}.`,
  ];
}

function toScan(row: ScanRow, reaches: readonly Reach[]): HostScan {
  return {
    id: row.id,
    kind: row.kind,
    // The selection names groups and labels of targets that the caller may not see.
    selection: reachesEverything(reaches) ? row.selection : null,
    createdAt: row.createdAt.toISOString(),
    createdBy: row.createdByName,
    completedAt: row.completedAt?.toISOString() ?? null,
    cancelledAt: row.cancelledAt?.toISOString() ?? null,
    total: row.total,
    done: row.done,
  };
}

/**
 * Returns a page of a scan's targets by name.
 * @throws {AppError} `not_found`.
 */
export async function listItems(
  sql: Queryable,
  id: number,
  query: HostScanItemQuery,
  reaches: readonly Reach[],
  approvable?: readonly Reach[],
): Promise<{ items: HostScanItem[]; nextCursor: string | null }> {
  refuseUnstorableText(query, 'query');
  await requireScan(sql, id, reaches);
  const limit = query.limit ?? limits.defaultPageItems;
  const rows = await listScanItems(sql, id, { ...query, limit }, reaches);
  const page = pageOf(rows, limit, (row) => [row.name, row.targetId], toItem);
  if (approvable === undefined) return page;
  const ids = page.items.map(({ targetId }) => targetId);
  const outside = new Set((await targetsOutside(sql, ids, approvable)).map((target) => target.id));
  return { ...page, items: page.items.map((item) => ({ ...item, mayApprove: !outside.has(item.targetId) })) };
}

function toItem({ certifiedBy, certificateKeyId, finishedAt, ...row }: ReviewItemRow): HostScanItem {
  return {
    ...row,
    finishedAt: finishedAt?.toISOString() ?? null,
    certified: certifiedBy === null ? null : { authority: certifiedBy, keyId: certificateKeyId ?? '' },
  };
}
