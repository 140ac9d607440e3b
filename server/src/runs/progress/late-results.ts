// Results that come after their attempts were given up: whether they still decide their steps, and how they are noted
// (ADR 0016).
import type { Tx } from '../../store/database/connection.ts';
import { dropCleanUp } from '../../store/queue/attempts/clean-ups.ts';
import {
  annotateStep,
  type EndedAttempt,
  lockEndedAttempts,
  unknownBeside,
  writeLateResult,
} from '../../store/queue/attempts/step-attempts.ts';
import type { StepRow } from '../../store/runs/progress/progress-rows.ts';
import { outcomeText, runError } from '../clean-text.ts';
import { type AttemptEnd, answer, type SettleResult } from './attempt-end.ts';
import type { RunLedger } from './run-ledger.ts';
import { isUndecided, type StepProgress } from './step-progress.ts';
import type { AttemptResult } from './step-writes.ts';

interface LateBatch {
  tx: Tx;
  ledger: RunLedger;
  progress: StepProgress;
}

export interface LateResults {
  results: Map<AttemptEnd, SettleResult>;
  /** Results of attempts that are still the current ones: they decide their steps. */
  deciding: { end: AttemptEnd; attempt: EndedAttempt }[];
  /** Results that change no outcome. */
  annotating: AttemptEnd[];
}

/**
 * Answers ends of attempts that are no longer live, and finds those among them that say something new.
 *
 * @param seen the steps whose live attempts end in the same batch
 */
export async function findLateResults(
  batch: LateBatch,
  ends: readonly AttemptEnd[],
  seen: Set<number>,
): Promise<LateResults> {
  const late: LateResults = { results: new Map(), deciding: [], annotating: [] };
  const asked = ends.filter(({ source }) => source.kind === 'agent');
  const rows = await lockEndedAttempts(batch.tx, asked);
  const attempts = new Map(rows.map((row) => [`${row.stepId}.${row.epoch}`, row]));
  const told = new Set<EndedAttempt>();
  // If steps that follow one another became unknown together, no result of one of them says how the target run ended.
  const besides = await unknownBeside(
    batch.tx,
    rows.filter(({ status }) => status === 'unknown').map(({ stepId }) => stepId),
  );
  for (const end of asked) {
    const attempt = attempts.get(`${end.stepId}.${end.epoch}`);
    const step = batch.progress.step(end.stepId);
    if (attempt === undefined) {
      // An attempt that is being settled in this batch has no row yet.
      late.results.set(end, answer(end, step?.epoch === end.epoch ? 'superseded' : 'forget'));
      continue;
    }
    late.results.set(
      end,
      isSameRequest(attempt, end)
        ? { ...answer(end, 'settled'), isRepeated: true }
        : answer(end, 'superseded'),
    );
    if (!isNews(attempt, end) || told.has(attempt)) continue;
    told.add(attempt);
    const mayDecide =
      step !== undefined &&
      !besides.has(step.id) &&
      step.epoch === end.epoch &&
      !seen.has(step.id) &&
      end.outcome.status !== 'unknown' &&
      isStillUndecided(batch, step);
    if (mayDecide) late.deciding.push({ end, attempt });
    else late.annotating.push(end);
  }
  return late;
}

function isOfLease(attempt: EndedAttempt, end: AttemptEnd): boolean {
  return (
    end.source.kind === 'agent' &&
    attempt.leaseToken === end.leaseToken &&
    attempt.agentId === end.source.agentId
  );
}

function isSameRequest(attempt: EndedAttempt, end: AttemptEnd): boolean {
  return isOfLease(attempt, end) && end.source.kind === 'agent' && attempt.requestId === end.source.requestId;
}

/** Whether it tells the outcome of an attempt that ended unknown, and is the first to do so. */
function isNews(attempt: EndedAttempt, end: AttemptEnd): boolean {
  const isOpen = attempt.status === 'unknown' && attempt.lateStatus === null;
  return isOpen && isOfLease(attempt, end) && !isSameRequest(attempt, end);
}

function isStillUndecided({ progress, ledger }: LateBatch, step: StepRow): boolean {
  return isUndecided(step, progress.targetRun(step), ledger.run(step.jobRunId)?.status);
}

/**
 * Lets late results decide their steps, and returns their ends. If something else in this batch has ended the run, a late
 * result is only recorded, as if it had come after that.
 */
export function decideLate(
  batch: LateBatch,
  late: LateResults,
  resultOf: (end: AttemptEnd) => AttemptResult,
): AttemptEnd[] {
  const decided: AttemptEnd[] = [];
  for (const { end, attempt } of late.deciding) {
    const step = batch.progress.step(end.stepId);
    if (step === undefined) throw new Error('a locked row is missing');
    if (!isStillUndecided(batch, step)) {
      late.annotating.push(end);
      continue;
    }
    const { targetName } = batch.progress.targetRun(step);
    const error = runError(targetName, step.stepNumber, attempt);
    batch.progress.resultCameLate(step, { ...resultOf(end), nextFor: undefined }, error);
    late.results.set(end, answer(end, 'settled'));
    decided.push(end);
  }
  return decided;
}

/** Records a late result with the attempt that it belongs to. */
export async function noteLate(
  tx: Tx,
  { stepId, epoch, source, outcome, output }: AttemptEnd,
): Promise<void> {
  if (source.kind !== 'agent') return;
  await writeLateResult(tx, {
    stepId,
    epoch,
    status: outcome.status,
    exitCode: outcome.exitCode ?? null,
    requestId: source.requestId,
    outputState: output.state,
    outputDigest: output.digest,
  });
  if (outcome.status !== 'unknown') await dropCleanUp(tx, stepId, epoch);
}

/** Leaves the run's outcome unchanged, but says at the step what its agent has reported since. */
export async function annotate({ tx, ledger, progress }: LateBatch, end: AttemptEnd): Promise<void> {
  const step = progress.step(end.stepId);
  if (step === undefined) return;
  ledger.countLateResult(step.jobRunId);
  if (step.epoch !== end.epoch) return;
  const { status, message } = end.outcome;
  // A message is a sentence of its own; an exit code or a reason is not.
  const advice = `The agent has since reported: ${status.replace('_', ' ')}${message == null ? ',' : '.'} ${outcomeText(end.outcome)}`;
  await annotateStep(tx, { id: step.id, epoch: step.epoch, advice, outputState: end.output.state });
  ledger.noteStep(step.jobRunId, { id: step.id, advice, outputState: end.output.state });
}
