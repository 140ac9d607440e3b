// The values and secrets that a run is started with.
import type { JobDefinition } from '@opsconductor/protocol';
import type { MasterKey } from '../../credentials/at-rest/master-key.ts';
import type { Tx } from '../../store/database/connection.ts';
import { checkValues } from '../values/check-values.ts';
import { copyValues } from '../values/copy-values.ts';
import { type SealedSecrets, sealSecrets } from '../values/seal-secrets.ts';
import type { StartRun } from './start-request.ts';

export interface GivenToRun {
  /** `undefined` for a job without parameters. */
  values: Record<string, unknown> | undefined;
  secrets: SealedSecrets | undefined;
}

/** Returns what the run's steps are rendered with: values given now or, for a rerun, those of the earlier run. */
export async function valuesFor(
  deps: { sql: Tx; masterKey: MasterKey; identity: { installationId: string } },
  { jobId, rerun, parameters, secretParameters }: StartRun,
  definition: JobDefinition,
  segmentIds: readonly number[],
): Promise<GivenToRun> {
  const hasParameters = Object.keys(definition.parameters ?? {}).length > 0;
  if (rerun !== undefined) {
    return hasParameters
      ? copyValues(deps, rerun.runId, segmentIds)
      : { values: undefined, secrets: undefined };
  }
  const sealedNames = Object.keys(secretParameters?.values ?? {});
  const { values, secrets } = checkValues(definition, { parameters, sealedNames });
  const { identity, sql } = deps;
  const { installationId } = identity;
  const toSeal = { installationId, jobId, segmentIds, plain: secrets, sealed: secretParameters };
  return { values: hasParameters ? values : undefined, secrets: await sealSecrets(sql, toSeal) };
}
