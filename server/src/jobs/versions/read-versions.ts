// Lists a job's versions, reads one, and compares two. Those of a deleted job can be read as long as runs refer to them.
import {
  compareDefinitions,
  type JobVersion,
  type JobVersionHead,
  limits,
  type VersionComparison,
} from '@opsconductor/protocol';
import type { Reach } from '../../auth/authority.ts';
import type { MasterKey } from '../../credentials/at-rest/master-key.ts';
import { notFound } from '../../errors.ts';
import type { Queryable } from '../../store/database/connection.ts';
import { decodeCursor, pageOf } from '../../store/database/cursor.ts';
import { findVersionHead, type JobVersionHeadRow, listVersionHeads } from '../../store/jobs/job-versions.ts';
import { findJob, type JobDetailRow } from '../../store/jobs/jobs.ts';
import { loadJobVersion } from './load-job-version.ts';
import { resolveVersion, versionAt } from './resolve-version.ts';

interface Deps {
  sql: Queryable;
  masterKey: MasterKey;
}

/**
 * Returns a page of a job's versions, newest first.
 * @throws {AppError} `not_found`.
 */
export async function listVersions(
  sql: Queryable,
  jobId: number,
  { limit = limits.defaultPageItems, cursor }: { limit?: number; cursor?: string },
  reaches: readonly Reach[],
): Promise<{ items: JobVersionHead[]; nextCursor: string | null }> {
  const job = await seenJob(sql, jobId, reaches, { alsoDeleted: true });
  const [below] = cursor === undefined ? [job.version + 1] : decodeCursor(cursor, ['number'] as const);
  const rows = await listVersionHeads(sql, jobId, { below, limit: limit + 1 });
  return pageOf(
    rows,
    limit,
    (row) => [row.version],
    (row) => headOf(row, job),
  );
}

/**
 * @param reference number, tag or channel.
 * @throws {AppError} `not_found`.
 */
export async function getVersion(
  deps: Deps,
  jobId: number,
  reference: string,
  reaches: readonly Reach[],
): Promise<JobVersion> {
  const job = await seenJob(deps.sql, jobId, reaches, { alsoDeleted: true });
  const version = await versionAt(deps.sql, jobId, reference);
  const [head, { definition }] = await Promise.all([
    headAt(deps.sql, jobId, version),
    loadJobVersion(deps, jobId, version),
  ]);
  return { ...headOf(head, job), definition };
}

/** @throws {AppError} `not_found` for the job; `invalid` for a version that it does not have. */
export async function compareVersions(
  deps: Deps,
  jobId: number,
  query: { from: string; to?: string },
  reaches: readonly Reach[],
): Promise<VersionComparison> {
  const job = await seenJob(deps.sql, jobId, reaches, { alsoDeleted: true });
  const from = await resolveVersion(deps.sql, jobId, query.from, 'query.from');
  const to =
    query.to === undefined ? job.version : await resolveVersion(deps.sql, jobId, query.to, 'query.to');
  const [before, after] = [await sideOf(deps, jobId, from), await sideOf(deps, jobId, to)];
  const changes = compareDefinitions(before.definition, after.definition);
  return { from: before.head, to: after.head, isSame: changes.length === 0, changes };
}

async function sideOf(deps: Deps, jobId: number, version: number) {
  const { createdBy, createdAt, note } = await headAt(deps.sql, jobId, version);
  const { definition } = await loadJobVersion(deps, jobId, version);
  return { definition, head: { version, createdBy, createdAt: createdAt.toISOString(), note } };
}

async function headAt(sql: Queryable, jobId: number, version: number): Promise<JobVersionHeadRow> {
  const head = await findVersionHead(sql, jobId, version);
  if (head === undefined) throw notFound(`Version ${version} of the job`);
  return head;
}

/** @throws {AppError} `not_found`. */
export async function seenJob(
  sql: Queryable,
  id: number,
  reaches: readonly Reach[],
  options: { alsoDeleted?: boolean } = {},
): Promise<JobDetailRow> {
  const job = await findJob(sql, id, reaches, options);
  if (job === undefined) throw notFound('Job');
  return job;
}

function headOf(row: JobVersionHeadRow, job: JobDetailRow): JobVersionHead {
  return { ...row, isCurrent: row.version === job.version, createdAt: row.createdAt.toISOString() };
}
