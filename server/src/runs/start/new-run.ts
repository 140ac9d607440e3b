// Puts together what is written for a run that starts: the run, its targets and its steps.
import {
  defaultKillGraceS,
  defaultTimeoutS,
  type JobDefinition,
  limits,
  type RunSelection,
} from '@opsconductor/protocol';
import { decodeBase64 } from '@opsconductor/protocol/sealing';
import { wrapDataKey } from '../../credentials/at-rest/data-key.ts';
import type { MasterKey } from '../../credentials/at-rest/master-key.ts';
import { stepNeedsOf } from '../../jobs/definition/step-needs.ts';
import type { NewRun, RunPlan } from '../../store/runs/run-creation.ts';
import type { CheckedGrant } from '../grants/check-grant.ts';
import { sealGrant } from '../grants/grant-at-rest.ts';
import { runKeyContext } from '../run-keys.ts';
import { sealParameters } from '../values/values-at-rest.ts';
import type { GivenToRun } from './given-values.ts';
import { isTrial } from './require-startable.ts';
import { requestDigests } from './start-once.ts';
import { refOf, type StartRun } from './start-request.ts';
import type { orderForStart } from './start-targets.ts';

export interface RunToWrite {
  request: StartRun;
  job: RunPlan;
  version: number;
  definition: JobDefinition;
  createdBy: number;
  selection: RunSelection;
  ordered: ReturnType<typeof orderForStart>;
  given: GivenToRun;
  signed: CheckedGrant | undefined;
  masterKey: MasterKey;
  dataKey: Buffer;
}

export function newRunOf(run: RunToWrite): NewRun {
  const { request, definition, dataKey, given, ordered } = run;
  const { runId } = run.job;
  const needs = stepNeedsOf(definition);
  return {
    id: runId,
    jobId: request.jobId,
    jobVersion: run.version,
    dataKey: wrapDataKey(run.masterKey, dataKey, runKeyContext(request.jobId)),
    startWithinS: request.startWithinS ?? definition.start_within ?? limits.startWithinS,
    createdBy: run.createdBy,
    selection: run.selection,
    priority: request.priority ?? definition.priority ?? 0,
    timeoutS: request.timeoutS ?? definition.timeout ?? null,
    locks: definition.locks ?? [],
    strategy: ordered.strategy,
    rerunOf: request.rerun?.runId ?? null,
    isTrial: isTrial(run.job),
    parameters: given.values === undefined ? null : sealParameters(dataKey, runId, given.values),
    secretsId: given.secrets?.id ?? null,
    grant: grantOf(run),
    versionRef: refOf(request),
    reason: request.reason ?? null,
    request:
      request.requested === undefined
        ? null
        : { key: request.requested.key, ...requestDigests(dataKey, request.requested) },
    targets: ordered.targets.map(({ id, name, segmentId }) => {
      const firstStep = request.rerun?.firstSteps.get(id);
      return { id, name, segmentId, ...(firstStep === undefined ? {} : { firstStep }) };
    }),
    steps: definition.steps.map((step, index) => ({
      number: index + 1,
      type: step.type,
      timeBudgetS: timeBudgetOf(step),
      ...(needs[index] ? { needs: needs[index] } : {}),
    })),
  };
}

function grantOf({ request: { grant }, signed, dataKey, job: { runId } }: RunToWrite): NewRun['grant'] {
  if (grant === undefined || signed === undefined) return null;
  return { sealed: sealGrant(dataKey, runId, grant), nonce: decodeBase64(signed.terms.nonce) };
}

/** Returns the timeout plus kill grace of a step, in seconds, from its validated configuration. */
function timeBudgetOf({ type, config }: { type: string; config: unknown }): number {
  const { timeout, kill_grace: killGrace } = config as { timeout?: number; kill_grace?: number };
  return (timeout ?? defaultTimeoutS(type)) + (killGrace ?? defaultKillGraceS);
}
