import type { Authority } from '../../auth/authority.ts';
import type { Queryable } from '../../store/database/connection.ts';
import type { TargetRunRecord } from '../../store/runs/runs.ts';
import { selectTargets } from '../../store/targets/target-selection.ts';

const nothing = { targetIds: [], groupIds: [], selector: undefined };

/** Returns the target runs on whose targets the caller may run the job now. Other reasons against it don't matter. */
export async function leaveOutForbidden(
  sql: Queryable,
  jobId: number,
  rows: readonly TargetRunRecord[],
  authority: Authority,
): Promise<TargetRunRecord[]> {
  const targetIds = rows.flatMap(({ targetId }) => targetId ?? []);
  const found = await selectTargets(
    sql,
    { ...nothing, targetIds, exclude: nothing },
    {
      read: authority.reach('read'),
      run: authority.reach('run'),
      credentials: authority.reach('credentials.use'),
    },
    { jobId, limit: targetIds.length },
  );
  const may = new Set(found.filter(({ problem }) => !problem?.endsWith('_forbidden')).map(({ id }) => id));
  return rows.filter(({ targetId }) => targetId !== null && may.has(targetId));
}
