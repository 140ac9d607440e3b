import { isRunEnded, type RunDetail } from '@opsconductor/protocol';
import type { MasterKey } from '../../credentials/at-rest/master-key.ts';
import type { Sql } from '../../store/database/connection.ts';
import { countUntoldAttempts } from '../../store/queue/attempts/step-attempts.ts';
import { shownSignature } from '../grants/shown-signature.ts';
import { shownParameters } from '../values/show-values.ts';
import { runDetailView } from './run-view.ts';
import type { SeenRun } from './seen-run.ts';

/**
 * Returns the run in detail. Callers who see only a part of it are shown neither parameter values, nor who signed it,
 * nor why it was started.
 */
export async function runDetail(
  deps: { sql: Sql; masterKey: MasterKey },
  { run, isWhole, partTag }: SeenRun,
): Promise<RunDetail> {
  const detail = runDetailView(run, partTag);
  if (!isWhole) return { ...detail, versionRef: null, runReason: null };
  const [parameters, signature, untoldAttempts] = await Promise.all([
    shownParameters(deps, run),
    run.isSigned ? shownSignature(deps, run.id) : undefined,
    isRunEnded(run.status) && run.targetsUnknown > 0 ? countUntoldAttempts(deps.sql, run.id) : 0,
  ]);
  return { ...detail, parameters, untoldAttempts, ...(signature === undefined ? {} : { signature }) };
}
