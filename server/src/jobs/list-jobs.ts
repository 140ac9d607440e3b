import { type Job, type JobListItem, type JobQuerySchema, limits } from '@opsconductor/protocol';
import type { Static } from 'typebox';
import type { Reach } from '../auth/authority.ts';
import type { MasterKey } from '../credentials/at-rest/master-key.ts';
import { notFound } from '../errors.ts';
import { refuseUnstorableText } from '../storable-text.ts';
import type { Queryable } from '../store/connection.ts';
import { pageOf } from '../store/cursor.ts';
import { findJob, type JobRow, listJobs as listJobRows } from '../store/jobs.ts';
import { loadJobVersion } from './load-job-version.ts';

/** A page of the jobs within the reaches, by name, with their last runs; `search` is a part of name or description. */
export async function listJobs(
  sql: Queryable,
  query: Static<typeof JobQuerySchema>,
  reaches: readonly Reach[],
): Promise<{ items: JobListItem[]; nextCursor: string | null }> {
  refuseUnstorableText(query, 'query');
  const limit = query.limit ?? limits.defaultPageItems;
  const rows = await listJobRows(sql, { ...query, limit }, reaches);
  return pageOf(
    rows,
    limit,
    (row) => [row.name, row.id],
    (row) => ({ ...jobFields(row), lastRuns: row.lastRuns }),
  );
}

/**
 * A job with its current definition.
 *
 * @throws {AppError} `not_found`, also for one outside the reaches.
 */
export async function getJob(
  deps: { sql: Queryable; masterKey: MasterKey },
  id: number,
  reaches: readonly Reach[],
): Promise<Job> {
  const row = await findJob(deps.sql, id, reaches);
  if (row === undefined) throw notFound('Job');
  const { definition, checksum } = await loadJobVersion(deps, id, row.version);
  return { ...jobFields(row), definition: { ...definition, category: row.category }, checksum };
}

function jobFields(row: JobRow) {
  return {
    id: row.id,
    name: row.name,
    description: row.description,
    category: row.category,
    version: row.version,
    isActive: row.isActive,
    stepCount: row.stepCount,
    stepTypes: row.stepTypes,
    createdBy: row.createdByName ?? 'deleted user',
    createdAt: row.createdAt.toISOString(),
    updatedAt: row.updatedAt.toISOString(),
  };
}
