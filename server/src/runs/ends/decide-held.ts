// Decisions on held steps: who may decide, what then happens to the steps, and to those that nobody decides in time.
import { type DecideRequest, type Decision, type ErrorDetail, isRunEnded } from '@opsconductor/protocol';
import { recordAudit } from '../../audit/record-audit.ts';
import type { Reach } from '../../auth/authority.ts';
import { auditedBy, type Caller } from '../../caller.ts';
import { AppError, notFound } from '../../errors.ts';
import type { Sql, Tx } from '../../store/database/connection.ts';
import { inTransaction } from '../../store/database/transaction.ts';
import { hastenCleanUps } from '../../store/queue/attempts/clean-ups.ts';
import { heldStepIds, stepsNow, writeDecisions } from '../../store/queue/decisions.ts';
import { lockStepsAndNext, lockTargetRuns, type StepRow } from '../../store/runs/progress/progress-rows.ts';
import { type ProgressNews, RunLedger } from '../progress/run-ledger.ts';
import { StepProgress } from '../progress/step-progress.ts';
import { seeRun } from '../view/seen-run.ts';
import { alreadyEnded, requireRun } from './cancel-run.ts';

const maxDetails = 100;

/**
 * Decides one, several or all held steps of a run that the caller sees. Either all steps asked for are decided or none.
 *
 * @throws {AppError} `not_found`; `forbidden` if the caller may not run it; `conflict` if the run has ended, a step is
 * no longer held or the number of held steps has changed, saying what is true now.
 */
export async function decideHeld(
  sql: Sql,
  runId: number,
  request: DecideRequest,
  caller: Caller,
): Promise<{ decided: number; stillHeld: number; news: ProgressNews }> {
  return inTransaction(sql, async (tx) => {
    const { run: seen } = await seeRun(tx, runId, caller.authority);
    await requireRun(tx, seen, caller);
    const ledger = await RunLedger.open(tx, { runIds: [runId] });
    const run = ledger.run(runId);
    if (run === undefined) throw notFound(`Run ${runId}`);
    if (isRunEnded(run.status)) throw alreadyEnded(run);
    const reaches = caller.authority.reach('read');
    const all = await heldStepIds(tx, runId, reaches);
    const ids = await chosenSteps(tx, runId, request, reaches);
    const { progress, held } = await lockHeld(tx, ledger, ids);
    const advice = `${caller.name} decided “${request.decision}”: ${request.note}`;
    for (const step of held) apply(progress, step, request.decision, advice);
    if (request.decision !== 'succeeded') await hastenCleanUps(tx, ids);
    await writeDecisions(tx, held, { ...request, userId: caller.userId });
    await progress.writes.closeSuccessors();
    await Promise.all(progress.writes.send());
    const { decision, note, agentName, stepNumber, reason } = request;
    await recordAudit(tx, {
      ...auditedBy(caller),
      action: 'run.decided',
      object: { kind: 'run', id: runId },
      scope: { categoryId: seen.categoryId },
      detail: {
        decision,
        note,
        decided: held.length,
        steps: ids.slice(0, maxDetails),
        ...(agentName === undefined ? {} : { agentName }),
        ...(stepNumber === undefined ? {} : { stepNumber }),
        ...(reason === undefined ? {} : { reason }),
      },
    });
    return { decided: held.length, stillHeld: all.length - held.length, news: await ledger.write() };
  });
}

/** Ends held steps whose deadline has passed. */
export async function expireHolds(sql: Sql, stepIds: readonly number[]): Promise<ProgressNews> {
  return inTransaction(sql, async (tx) => {
    const ledger = await RunLedger.open(tx, { stepIds });
    const { progress, held } = await lockHeld(tx, ledger, stepIds);
    for (const step of held) {
      // A step that was retried meanwhile may be held again, with a new deadline.
      if (step.heldUntil === null || step.heldUntil > ledger.now) continue;
      const message = `${step.errorMessage ?? 'What happened on the target is not known.'} Nobody decided in time.`;
      const advice = 'Look on the target before you run it again.';
      progress.heldEnds(step, { status: 'unknown', reason: step.reason, message, advice });
    }
    await progress.writes.closeSuccessors();
    await Promise.all(progress.writes.send());
    return ledger.write();
  });
}

async function lockHeld(
  tx: Tx,
  ledger: RunLedger,
  ids: readonly number[],
): Promise<{ progress: StepProgress; held: StepRow[] }> {
  const targetRuns = await lockTargetRuns(tx, ids);
  const steps = await lockStepsAndNext(tx, ids);
  const progress = new StepProgress({ tx, ledger, targetRuns, steps });
  await progress.prepare(ids);
  const asked = new Set(ids);
  return { progress, held: steps.filter((step) => asked.has(step.id) && step.status === 'held') };
}

function apply(progress: StepProgress, step: StepRow, decision: Decision, advice: string): void {
  if (decision === 'retry') {
    progress.heldIsRetried(step, advice);
    return;
  }
  const status = decision === 'cancel' ? 'cancelled' : decision;
  progress.heldEnds(step, { status, reason: 'decided', message: step.errorMessage, advice });
}

async function chosenSteps(
  tx: Tx,
  runId: number,
  request: DecideRequest,
  reaches: readonly Reach[],
): Promise<number[]> {
  const filter = { agentName: request.agentName, stepNumber: request.stepNumber, reason: request.reason };
  const fitting = await heldStepIds(tx, runId, reaches, filter);
  if (request.steps === undefined) {
    if (fitting.length === 0) {
      throw new AppError(
        'conflict',
        `No step of run ${runId} that fits is held any more: somebody decided, or its agent came back.`,
      );
    }
    refuseOther(request.expected, fitting.length);
    return fitting;
  }
  const ids = [...new Set(request.steps.map((step) => step.id))];
  const now = new Map((await stepsNow(tx, runId, ids, reaches)).map((row) => [row.id, row]));
  const fits = new Set(fitting);
  const details = request.steps.flatMap(({ id, attempt }, index): ErrorDetail[] => {
    const row = now.get(id);
    const path = `steps[${index}]`;
    if (row === undefined) return [{ path, message: `Run ${runId} has no step ${id}.`, found: String(id) }];
    if (fits.has(id) && row.epoch === attempt) return [];
    const state = row.status === 'held' ? 'held' : row.status.replace('_', ' ');
    const message = `Step ${row.stepNumber} on “${row.targetName}” is ${state} now, with attempt ${row.epoch}.`;
    return [{ path, message, found: `attempt ${attempt}`, allowed: 'a step that is held, with its attempt' }];
  });
  const [first] = details;
  if (first !== undefined) {
    const rest =
      details.length === 1 ? '' : ` ${details.length} of ${request.steps.length} are not as they were seen.`;
    throw new AppError('conflict', `${first.message}${rest}`, { details: details.slice(0, maxDetails) });
  }
  refuseOther(request.expected, ids.length);
  return ids;
}

function refuseOther(expected: number | undefined, count: number): void {
  if (expected === undefined || expected === count) return;
  const message = `${count} held ${count === 1 ? 'step fits' : 'steps fit'} by now, not ${expected}: look again, then decide.`;
  throw new AppError('conflict', message, {
    details: [{ path: 'expected', message, found: String(expected), allowed: String(count) }],
  });
}
