// Starts a run: the job's current version on the chosen targets. It is refused whole, or queued whole.
import { limits } from '@opsconductor/protocol';
import { recordAudit } from '../audit/record-audit.ts';
import { auditedBy, type Caller } from '../caller.ts';
import { newDataKey, wrapDataKey } from '../credentials/at-rest/data-key.ts';
import type { MasterKey } from '../credentials/at-rest/master-key.ts';
import { AppError, notFound } from '../errors.ts';
import { loadJobVersion } from '../jobs/load-job-version.ts';
import type { Sql } from '../store/connection.ts';
import { currentJobVersion } from '../store/jobs.ts';
import { insertRun, type RunTarget, targetsForRun } from '../store/run-creation.ts';
import { notifyProgress } from '../store/run-progress.ts';
import { inTransaction } from '../store/transaction.ts';
import type { ProgressNews } from './run-ledger.ts';

export interface StartRun {
  jobId: number;
  targetIds: readonly number[];
  /** Seconds; the job's own `start_within` when left out. */
  startWithinS?: number | undefined;
}

/** Seconds between TERM and KILL when a step doesn't say. */
const defaultKillGraceS = 10;
const defaultTimeoutS = 300;

export async function startRun(
  deps: { sql: Sql; masterKey: MasterKey },
  request: StartRun,
  caller: Caller,
): Promise<{ runId: number; news: ProgressNews }> {
  return inTransaction(deps.sql, async (tx) => {
    // Sent together: each statement that is waited for costs a round trip.
    const [job, targets] = await Promise.all([
      currentJobVersion(tx, request.jobId),
      targetsForRun(tx, request.targetIds),
    ]);
    if (job === undefined) throw notFound(`Job ${request.jobId}`);
    if (!job.isActive)
      throw new AppError('conflict', `Job “${job.name}” is inactive: activate it to run it.`);
    const { definition } = await loadJobVersion(
      { sql: tx, masterKey: deps.masterKey },
      request.jobId,
      job.version,
    );
    refuseTargets(request.targetIds, targets);
    const runId = await insertRun(tx, {
      jobId: request.jobId,
      jobVersion: job.version,
      // The context is the job: a run's id isn't known before its row, and the key is random anyway.
      dataKey: wrapDataKey(deps.masterKey, newDataKey(), runKeyContext(request.jobId)),
      startWithinS: request.startWithinS ?? definition.start_within ?? limits.startWithinS,
      createdBy: caller.userId,
      targets,
      steps: definition.steps.map((step, index) => ({
        number: index + 1,
        type: step.type,
        timeBudgetS: timeBudgetOf(step.config),
      })),
    });
    const audited = recordAudit(tx, {
      ...auditedBy(caller),
      action: 'run.started',
      object: { kind: 'run', id: runId },
      detail: { jobId: request.jobId, jobVersion: job.version, targets: targets.length },
    });
    const segments = [...new Set(targets.map((target) => target.segmentId))];
    await Promise.all([audited, notifyProgress(tx, { segments })]);
    return { runId, news: { runs: [{ id: runId, seq: 0, ended: false }], segments, cancel: [] } };
  });
}

/** Binds a run's wrapped data key to its job. */
export function runKeyContext(jobId: number): string {
  return `run-of-job:${jobId}`;
}

/** Timeout and kill grace of a step, in seconds, from its validated configuration. */
function timeBudgetOf(config: unknown): number {
  const { timeout, kill_grace: killGrace } = config as { timeout?: number; kill_grace?: number };
  return (timeout ?? defaultTimeoutS) + (killGrace ?? defaultKillGraceS);
}

function refuseTargets(asked: readonly number[], found: readonly RunTarget[]): void {
  const byId = new Map(found.map((target) => [target.id, target]));
  const details = asked.flatMap((id, index) => {
    const target = byId.get(id);
    const path = `targetIds[${index}]`;
    if (target === undefined) {
      return [{ path, found: String(id), message: `Target ${id} not found.` }];
    }
    if (!target.hasAgent || target.keyGeneration === 0) {
      return [
        {
          path,
          found: target.name,
          message: `Segment “${target.segmentName}” of target “${target.name}” never had an agent: add one first.`,
        },
      ];
    }
    if (target.credentialId === null) {
      return [
        {
          path,
          found: target.name,
          message: `Target “${target.name}” has no credential: choose one for it first.`,
        },
      ];
    }
    return [];
  });
  if (details.length === 0) return;
  const first = details[0]?.message ?? '';
  const message =
    details.length === 1 ? first : `${details.length} targets can’t be run on. The first: ${first}`;
  throw new AppError('invalid', message, { details: details.slice(0, 100) });
}
