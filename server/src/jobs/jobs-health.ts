import { type JobsHealthSchema, stepTypes } from '@opsconductor/protocol';
import type { Static } from 'typebox';
import type { Reach } from '../auth/authority.ts';
import type { Queryable } from '../store/connection.ts';
import { type JobsHealthRow, readJobsHealth } from '../store/jobs.ts';
import { segmentQueues } from '../store/queue-status.ts';
import { stuckSegmentProblems } from './queue-status.ts';

/** Whether the jobs within the reaches can run, and in words what keeps them from it. */
export async function jobsHealth(
  sql: Queryable,
  reaches: readonly Reach[],
): Promise<Static<typeof JobsHealthSchema>> {
  const row = await readJobsHealth(sql, stepTypes, reaches);
  const stuck = await stuckSegmentProblems(sql, await segmentQueues(sql, reaches), reaches);
  const problems = [...stuck, ...problemsOf(row)];
  return {
    status: problems.length === 0 ? 'ok' : 'degraded',
    jobs: row.jobs,
    openRuns: row.openRuns,
    problems,
  };
}

function problemsOf(row: JobsHealthRow): string[] {
  const problems: string[] = [];
  if (row.overdueRuns > 0) {
    problems.push(
      `${count(row.overdueRuns, 'run has', 'runs have')} not begun although its time to start is over.`,
    );
  }
  if (row.unknownStepTypes.length > 0) {
    problems.push(
      `Active jobs use step types that this server does not know: ${row.unknownStepTypes.join(', ')}.`,
    );
  }
  return problems;
}

function count(number: number, one: string, many: string): string {
  return `${number} ${number === 1 ? one : many}`;
}
