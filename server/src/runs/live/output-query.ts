// Which steps' output a reader of a run's stream asks for.
import { limits } from '@opsconductor/protocol';
import type { Sql } from '../../store/database/connection.ts';
import { stepIdsOfRun } from '../../store/runs/runs.ts';

/** Returns the step ids that `output=` names, or `undefined` if there are too many. */
export async function stepsOfOutputQuery(
  sql: Sql,
  runId: number,
  query: string,
): Promise<number[] | undefined> {
  const ids =
    query === 'all'
      ? await stepIdsOfRun(sql, runId, limits.maxStepsForWholeOutputStream + 1)
      : query.split(',').map(Number);
  return ids.length > limits.maxStepsForWholeOutputStream ? undefined : ids;
}
