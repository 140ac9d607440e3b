// Prepares what a run would be signed for, for people who may start it.
import {
  limits,
  type SecretParameters,
  type StartRunRequest,
  type TargetSelection,
} from '@opsconductor/protocol';
import type { GrantDraft } from '@opsconductor/protocol/grants';
import type { Caller } from '../../caller.ts';
import { AppError, invalidField } from '../../errors.ts';
import { loadJobVersion } from '../../jobs/versions/load-job-version.ts';
import { planStart } from '../start/start-run.ts';
import { checkValues } from '../values/check-values.ts';
import { sealSecrets } from '../values/seal-secrets.ts';
import { type DraftDeps, draftOf } from './grant-draft.ts';

export interface GrantToPrepare {
  jobId: number;
  selection: TargetSelection;
  version?: number | string | undefined;
  parameters?: Record<string, unknown> | undefined;
  secretParameters?: SecretParameters | undefined;
  agentIds?: readonly number[] | undefined;
}

/** @throws {AppError} as starting that run would. */
export async function prepareGrant(
  deps: DraftDeps,
  request: GrantToPrepare,
  caller: Caller,
): Promise<GrantDraft> {
  const { jobId, parameters, secretParameters, agentIds = [] } = request;
  const { jobVersion, targets } = await planStart(deps.sql, request, caller);
  refuseTooMany(targets.length);
  const { definition } = await loadJobVersion(deps, jobId, jobVersion);
  const sealedNames = Object.keys(secretParameters?.values ?? {});
  const { values, secrets: plain } = checkValues(definition, { parameters, sealedNames });
  const [name] = plain.keys();
  if (name !== undefined) {
    throw invalidField(
      `parameters.${name}`,
      'A secret is signed as it is sealed: give it in secretParameters.',
      {
        allowed: 'a seal for each segment that POST /api/v1/jobs/:id/sealing-keys names',
      },
    );
  }
  const segmentIds = [...new Set(targets.map(({ segmentId }) => segmentId))];
  const { installationId } = deps.identity;
  const toSeal = { installationId, jobId, segmentIds, plain, sealed: secretParameters };
  const targetIds = targets.map(({ id }) => id);
  const draft = await draftOf(deps, {
    jobId,
    jobVersion,
    startedBy: caller.name,
    values,
    agentIds,
    targetIds,
    secrets: await sealSecrets(deps.sql, toSeal),
  });
  // The request as it is signed, whatever the selector or the channel would resolve to by the time of the start.
  const start: StartRunRequest = {
    targetIds,
    version: jobVersion,
    ...(Object.keys(values).length === 0 ? {} : { parameters: values }),
    ...(secretParameters === undefined ? {} : { secretParameters }),
  };
  return { ...draft, request: start };
}

/** Refuses early, before anyone is asked to sign a run that couldn't be started. */
function refuseTooMany(targets: number): void {
  if (targets <= limits.maxSignedTargets) return;
  throw new AppError(
    'invalid',
    `The selection has ${targets} targets; ${limits.maxSignedTargets} at most can be signed for one run. Start several runs, each on some of them.`,
  );
}
