import { type JobStatistics, limits } from '@opsconductor/protocol';
import type { Reach } from '../../auth/authority.ts';
import type { Queryable } from '../../store/database/connection.ts';
import { readJobStatistics } from '../../store/jobs/job-statistics.ts';
import { seenJob } from '../versions/read-versions.ts';

/**
 * Returns statistics of a job's runs that were created within the last `days`.
 * @throws {AppError} `not_found`.
 */
export async function jobStatistics(
  sql: Queryable,
  jobId: number,
  { days = 30 }: { days?: number },
  reaches: readonly Reach[],
): Promise<JobStatistics> {
  await seenJob(sql, jobId, reaches);
  const row = await readJobStatistics(sql, jobId, { days, maxRuns: limits.maxRunsForStatistics });
  const { succeeded = 0, cancelled = 0 } = row.byStatus;
  const counted = row.runs - row.open - cancelled;
  return {
    days,
    since: row.since.toISOString(),
    runs: row.runs,
    byStatus: row.byStatus,
    open: row.open,
    successRate: counted === 0 ? null : succeeded / counted,
    durations: { p50Ms: row.p50Ms, p90Ms: row.p90Ms, p99Ms: row.p99Ms, maxMs: row.maxMs },
    last: row.last,
    byDay: row.byDay,
    isCut: row.looked === limits.maxRunsForStatistics && row.runs === row.looked,
  };
}
