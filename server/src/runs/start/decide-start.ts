// Decides what a start writes: checks what it asks for against what was read, and puts the run together.
import type { JobDefinition, RunSelection } from '@opsconductor/protocol';
import type { AuditEntry } from '../../audit/record-audit.ts';
import { auditedBy, type Caller } from '../../caller.ts';
import type { MasterKey } from '../../credentials/at-rest/master-key.ts';
import { loadJobVersion } from '../../jobs/versions/load-job-version.ts';
import type { Sql, Tx } from '../../store/database/connection.ts';
import type { NewRun, RunPlan } from '../../store/runs/run-creation.ts';
import type { SelectedRow } from '../../store/targets/target-selection.ts';
import { type CheckedGrant, grantOfStart } from '../grants/check-grant.ts';
import type { StartedRun } from '../leases/claim-along.ts';
import type { ProgressNews } from '../progress/run-ledger.ts';
import { type GivenToRun, valuesFor } from './given-values.ts';
import { newRunOf } from './new-run.ts';
import { requireRoomForRun } from './open-runs-limit.ts';
import { isTrial, requireOverrides } from './require-startable.ts';
import { credentialsUsed, overridesOf, valuesTold } from './start-audit.ts';
import type { StartRun } from './start-request.ts';
import { orderForStart } from './start-targets.ts';

interface StartToDecide {
  request: StartRun;
  caller: Caller;
  job: RunPlan;
  version: number;
  targets: SelectedRow[];
  selection: RunSelection;
  dataKey: Buffer;
  /** How long it may wait for a lock of others. */
  maxLockWaitMs: number;
}

export interface DecidedStart {
  newRun: NewRun;
  definition: JobDefinition;
  given: GivenToRun;
  signed: CheckedGrant | undefined;
  audit: AuditEntry;
  news: ProgressNews;
  /** What a claim that goes along has to know. */
  toClaim: StartedRun;
}

/** Writes nothing. @throws {AppError} as `startRun` does; 55P03 if others hold a lock for longer than it may wait. */
export async function decideStart(
  deps: { sql: Sql; masterKey: MasterKey; identity: { installationId: string } },
  tx: Tx,
  { request, caller, job, version, targets, selection, dataKey, maxLockWaitMs }: StartToDecide,
): Promise<DecidedStart> {
  const { masterKey } = deps;
  const { jobId } = request;
  const { definition } = await loadJobVersion({ sql: tx, masterKey }, jobId, version);
  requireOverrides(request, definition, job, caller);
  const { max_open_runs: maxOpenRuns } = definition;
  await requireRoomForRun(tx, { jobId, name: job.name, maxOpenRuns }, maxLockWaitMs);
  const ordered = orderForStart(request.strategy ?? definition.strategy, targets);
  const segmentIds = [...new Set(targets.map((target) => target.segmentId))];
  const given = await valuesFor({ ...deps, sql: tx }, request, definition, segmentIds);
  const signed = await grantOfStart(deps, request.grant, {
    jobId,
    jobVersion: version,
    startedBy: caller.name,
    values: given.values ?? {},
    secrets: given.secrets,
    segmentIds,
    targetIds: targets.map(({ id }) => id),
    signedOnly: targets.some(({ signedOnly }) => signedOnly),
    isRerun: request.rerun !== undefined,
  });
  const newRun = newRunOf({
    request,
    version,
    definition,
    job,
    masterKey,
    dataKey,
    selection,
    given,
    signed,
    createdBy: caller.userId,
    ordered,
  });
  return {
    newRun,
    definition,
    given,
    signed,
    audit: {
      ...auditedBy(caller),
      action: 'run.started',
      object: { kind: 'run', id: job.runId },
      scope: { categoryId: job.categoryId },
      detail: {
        jobId,
        jobVersion: version,
        selection,
        ...overridesOf(request),
        ...(isTrial(job) ? { isTrial: true } : {}),
        ...valuesTold(request, given),
        ...credentialsUsed(definition, targets),
        ...(signed === undefined ? {} : { signedBy: signed.terms.signer.key }),
      },
    },
    news: { runs: [{ id: job.runId, seq: 0, ended: false }], segments: segmentIds, cancel: [] },
    toClaim: {
      jobRunId: job.runId,
      claimRank: -newRun.priority,
      segmentIds,
      hasLocks: newRun.locks.length > 0,
    },
  };
}
