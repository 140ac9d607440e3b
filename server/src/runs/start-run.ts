// Starts a run: the job's current version on the chosen targets. It is refused whole, or queued whole.
import { limits } from '@opsconductor/protocol';
import { recordAudit } from '../audit/record-audit.ts';
import { auditedBy, type Caller } from '../caller.ts';
import { newDataKey, wrapDataKey } from '../credentials/at-rest/data-key.ts';
import type { MasterKey } from '../credentials/at-rest/master-key.ts';
import { AppError, notFound } from '../errors.ts';
import { loadJobVersion } from '../jobs/load-job-version.ts';
import { type Sql, sqlState } from '../store/connection.ts';
import { insertRun, planRun, type RunTarget, targetsForRun } from '../store/run-creation.ts';
import { notifyProgress } from '../store/run-progress.ts';
import { commitWithThese, inTransaction } from '../store/transaction.ts';
import type { RunKeys } from './run-keys.ts';
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
const foreignKeyViolation = '23503';

export interface StartRunDeps {
  sql: Sql;
  masterKey: MasterKey;
  /** Given the run's data key, so that its first output waits for none. */
  keys?: Pick<RunKeys, 'remember'>;
}

interface Started {
  runId: number;
  news: ProgressNews;
}

export async function startRun(deps: StartRunDeps, request: StartRun, caller: Caller): Promise<Started> {
  try {
    return await queueRun(deps, request, caller);
  } catch (error) {
    // A target was deleted since it was read: reading again names it.
    if (sqlState(error) === foreignKeyViolation) return queueRun(deps, request, caller);
    throw error;
  }
}

async function queueRun(deps: StartRunDeps, request: StartRun, caller: Caller): Promise<Started> {
  const { sql, masterKey } = deps;
  // Read while the transaction opens, and written with its commit: each round trip is waited for by a person.
  const reading = Promise.all([planRun(sql, request.jobId), targetsForRun(sql, request.targetIds)]);
  reading.catch(() => undefined); // met inside the transaction, unless that could not be opened
  const dataKey = newDataKey();
  const started = await inTransaction(sql, async (tx) => {
    const [job, targets] = await reading;
    if (job === undefined) throw notFound(`Job ${request.jobId}`);
    if (!job.isActive)
      throw new AppError('conflict', `Job “${job.name}” is inactive: activate it to run it.`);
    const { definition } = await loadJobVersion({ sql: tx, masterKey }, request.jobId, job.version);
    refuseTargets(request.targetIds, targets);
    const { runId } = job;
    const segments = [...new Set(targets.map((target) => target.segmentId))];
    const news = { runs: [{ id: runId, seq: 0, ended: false }], segments, cancel: [] };
    const detail = { jobId: request.jobId, jobVersion: job.version, targets: targets.length };
    await Promise.all([
      insertRun(tx, {
        id: runId,
        jobId: request.jobId,
        jobVersion: job.version,
        dataKey: wrapDataKey(masterKey, dataKey, runKeyContext(request.jobId)),
        startWithinS: request.startWithinS ?? definition.start_within ?? limits.startWithinS,
        createdBy: caller.userId,
        targets,
        steps: definition.steps.map((step, index) => ({
          number: index + 1,
          type: step.type,
          timeBudgetS: timeBudgetOf(step.config),
        })),
      }),
      recordAudit(tx, {
        ...auditedBy(caller),
        action: 'run.started',
        object: { kind: 'run', id: runId },
        detail,
      }),
      notifyProgress(tx, news),
      commitWithThese(tx),
    ]);
    return { runId, news };
  });
  deps.keys?.remember(started.runId, dataKey);
  return started;
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
