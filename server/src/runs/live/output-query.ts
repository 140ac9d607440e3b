// Which steps' output a reader of a run's stream asks for.
import { limits } from '@opsconductor/protocol';
import type { Queryable, Sql } from '../../store/database/connection.ts';
import { stepIdsOfRun } from '../../store/runs/runs.ts';

/** Returns the step ids that `output=` names, or `undefined` if there are too many. */
export async function stepsOfOutputQuery(
  sql: Sql,
  runId: number,
  query: string,
): Promise<number[] | undefined> {
  const { ids } =
    query === 'all' ? await stepsOfWholeOutput(sql, runId) : { ids: query.split(',').map(Number) };
  return ids === undefined || ids.length > limits.maxStepsForWholeOutputStream ? undefined : ids;
}

/** Returns the ids of all steps of a run; without them if they are too many for one stream. */
export async function stepsOfWholeOutput(db: Queryable, runId: number): Promise<{ ids?: number[] }> {
  const ids = await stepIdsOfRun(db, runId, limits.maxStepsForWholeOutputStream + 1);
  return ids.length > limits.maxStepsForWholeOutputStream ? {} : { ids };
}
