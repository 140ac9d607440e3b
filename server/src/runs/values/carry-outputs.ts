// Carries over what the steps that a rerun leaves out have handed on, so that later steps find it as in the previous
// run. Values are encrypted again because they are bound to their step; secret values stay sealed to their segment.
import { unwrapDataKey } from '../../credentials/at-rest/data-key.ts';
import type { MasterKey } from '../../credentials/at-rest/master-key.ts';
import type { Tx } from '../../store/database/connection.ts';
import { findOutputsBefore, findRunValues, type NewStepOutputs } from '../../store/runs/run-values.ts';
import { runKeyContext } from '../run-keys.ts';
import { openOutputs, sealOutputs } from './values-at-rest.ts';

/** Returns the outputs to store for the steps of a run that was just inserted. */
export async function carriedOutputs(
  { sql, masterKey }: { sql: Tx; masterKey: MasterKey },
  { from, to, dataKey }: { from: number; to: number; dataKey: Buffer },
): Promise<NewStepOutputs[]> {
  const [run] = await findRunValues(sql, [from]);
  if (run === undefined) return [];
  const keyBefore = unwrapDataKey(masterKey, run.dataKey, runKeyContext(run.jobId));
  const rows = await findOutputsBefore(sql, { from, to });
  return rows.map(({ newStepId, outputs, secrets, ...before }) => {
    const step = { stepId: newStepId, epoch: 0 };
    const sealed = outputs && sealOutputs(dataKey, step, openOutputs(keyBefore, before, outputs));
    return { ...step, outputs: sealed, secrets };
  });
}
