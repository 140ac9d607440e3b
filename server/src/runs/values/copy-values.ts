// Copies the values of a run for a rerun of the same version. Secrets stay sealed: no server can open them.
import { unwrapDataKey } from '../../credentials/at-rest/data-key.ts';
import type { MasterKey } from '../../credentials/at-rest/master-key.ts';
import { AppError, notFound } from '../../errors.ts';
import type { Queryable } from '../../store/database/connection.ts';
import { findRunSecrets, findRunValues, findSegmentKeysNow } from '../../store/runs/run-values.ts';
import { runKeyContext } from '../run-keys.ts';
import type { SealedSecrets } from './seal-secrets.ts';
import { openParameters } from './values-at-rest.ts';

/** @throws {AppError} `invalid` if a target is now in a segment that the secrets weren't sealed to. */
export async function copyValues(
  { sql, masterKey }: { sql: Queryable; masterKey: MasterKey },
  runId: number,
  segmentIds: readonly number[],
): Promise<{ values: Record<string, unknown>; secrets: SealedSecrets | undefined }> {
  const [run] = await findRunValues(sql, [runId]);
  if (run === undefined) throw notFound(`Run ${runId}`);
  const dataKey = unwrapDataKey(masterKey, run.dataKey, runKeyContext(run.jobId));
  const values = openParameters(dataKey, runId, run.parameters);
  if (run.secretsId === null) return { values, secrets: undefined };
  const secrets = await findRunSecrets(sql, runId);
  const sealedTo = new Set(secrets.map(({ segmentId }) => segmentId));
  const missing = segmentIds.filter((id) => !sealedTo.has(id));
  if (missing.length > 0) {
    const names = (await findSegmentKeysNow(sql, missing)).map(({ segmentName }) => `“${segmentName}”`);
    const message = `Targets of run ${runId} are in ${names.slice(0, 10).join(', ')} now, which its secrets were not sealed to: start a new run and enter them again.`;
    throw new AppError('invalid', message, {
      details: [{ path: 'which', message, allowed: 'targets that are still in the segments of the run' }],
    });
  }
  const wanted = new Set(segmentIds);
  const kept = secrets.filter(({ segmentId }) => wanted.has(segmentId));
  return { values, secrets: { id: run.secretsId, secrets: kept } };
}
