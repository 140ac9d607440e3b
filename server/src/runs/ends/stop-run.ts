// Ends what is left of an open run, or of some of its target runs: what waits, what is held and, if agents can't be
// waited for, what runs.
import type { StepOutcome } from '@opsconductor/protocol';
import type { Tx } from '../../store/database/connection.ts';
import { begunTargetRuns } from '../../store/queue/attempts/step-attempts.ts';
import {
  hasBegun,
  lockOpenTargetRuns,
  lockStepsAndNext,
  lockWaitingSteps,
  openStepsOf,
  type StepRow,
  type TargetRunRow,
  type WaitingStep,
  waitingStepsOf,
} from '../../store/runs/progress/progress-rows.ts';
import { reasonsOfWaiting } from '../../store/runs/progress/progress-writes.ts';
import type { RunLedger } from '../progress/run-ledger.ts';
import { StepProgress } from '../progress/step-progress.ts';

type Ending = 'cancelled' | 'timed_out';

/**
 * Ends what waits, with the given status: steps without a lease, and their target runs. In target runs that have begun,
 * clean-up steps still run. Held steps end unknown. Running steps are left to finish.
 */
export async function stopWaiting(tx: Tx, ledger: RunLedger, runId: number, status: Ending): Promise<void> {
  await stop(tx, ledger, runId, { status });
}

/** Does the same for these target runs alone: they were cancelled by themselves. */
export async function stopWaitingOn(
  tx: Tx,
  ledger: RunLedger,
  runId: number,
  targetRunIds: readonly number[],
): Promise<void> {
  await stop(tx, ledger, runId, { status: 'cancelled', only: targetRunIds });
}

/**
 * Ends everything that is open: running and held steps end unknown, the rest is cancelled. Nothing cleans up.
 *
 * @param outcomeOf returns the outcome of a step that an agent has.
 */
export async function stopRun(
  tx: Tx,
  ledger: RunLedger,
  runId: number,
  outcomeOf: (step: StepRow) => StepOutcome,
): Promise<void> {
  await stop(tx, ledger, runId, { status: 'cancelled', outcomeOf });
}

/** Does the same for these target runs alone. */
export async function stopOn(
  tx: Tx,
  ledger: RunLedger,
  runId: number,
  targetRunIds: readonly number[],
  outcomeOf: (step: StepRow) => StepOutcome,
): Promise<void> {
  await stop(tx, ledger, runId, { status: 'cancelled', outcomeOf, only: targetRunIds });
}

/** Returns the outcome of a running step whose stop is not waited for. */
export function forcedBy(byName: string): (step: StepRow) => StepOutcome {
  return (step) => ({
    status: 'unknown',
    reason: 'cancel_forced',
    message: `${byName} forced the cancel ${hasBegun(step) ? 'while the step ran' : 'when the step had been given to its agent'}: whether it was stopped is not known.`,
    advice: 'Its agent goes on being told to stop it. What it reports is added here.',
  });
}

async function stop(
  tx: Tx,
  ledger: RunLedger,
  runId: number,
  {
    status,
    outcomeOf,
    only,
  }: { status: Ending; outcomeOf?: (step: StepRow) => StepOutcome; only?: readonly number[] },
): Promise<void> {
  const targetRuns = await lockOpenTargetRuns(tx, runId, only);
  // Waiting steps are locked first: from then on no claim can take them, and steps that a claim has taken count as
  // open.
  await lockWaitingSteps(tx, runId, only);
  const open = await openStepsOf(tx, runId, only);
  const ending = open.filter((step) => step.status === 'held' || outcomeOf !== undefined).map(({ id }) => id);
  const steps = await lockStepsAndNext(tx, ending);
  const progress = new StepProgress({ tx, ledger, targetRuns, steps });
  await progress.prepare(ending);
  const asked = new Set(ending);
  for (const step of steps.filter(({ id }) => asked.has(id))) {
    if (step.status === 'held') endHeld(progress, step, only === undefined ? 'The run' : 'The host');
    else if (step.status === 'running' && outcomeOf !== undefined) giveUp(progress, step, outcomeOf(step));
  }
  const busy = new Set(open.map((step) => step.targetRunId));
  const idle = targetRuns.filter((target) => !busy.has(target.id));
  const mayCleanUp = outcomeOf === undefined && hasCleanUp(ledger, runId);
  const begun = mayCleanUp ? await begunTargetRuns(tx, runId, only) : new Set<number>();
  const cleaning = idle.filter((target) => begun.has(target.id));
  stopBegun(
    progress,
    ledger,
    cleaning,
    await waitingStepsOf(
      tx,
      cleaning.map(({ id }) => id),
    ),
    status,
  );
  const unbegun = idle.filter((target) => !begun.has(target.id));
  await ledger.closeWaiting(runId, unbegun, { status, reason: reasonsOfWaiting[status] });
  for (const target of unbegun) ledger.changeTargetRun(target, target.firstFailure ?? status);
  for (const target of targetRuns) if (busy.has(target.id)) ledger.changeTargetRun(target, 'cancelling');
  await progress.writes.closeSuccessors();
  await Promise.all(progress.writes.send());
}

function hasCleanUp(ledger: RunLedger, runId: number): boolean {
  return ledger.run(runId)?.stepRules?.some((rules) => rules.when !== 'success') ?? false;
}

function stopBegun(
  progress: StepProgress,
  ledger: RunLedger,
  targets: readonly TargetRunRow[],
  waiting: readonly WaitingStep[],
  status: Ending,
): void {
  const waitingOf = new Map<number, WaitingStep[]>(targets.map((target) => [target.id, []]));
  for (const step of waiting) waitingOf.get(step.targetRunId)?.push(step);
  for (const target of targets) {
    const steps = (waitingOf.get(target.id) ?? []).sort((a, b) => a.stepNumber - b.stepNumber);
    const isCleaning = steps.some((step) => step.status === 'ready' && step.isCleanUp);
    const end = isCleaning ? undefined : progress.stopIdle(target, steps, status);
    ledger.changeTargetRun(target, end ?? 'cancelling');
  }
}

function endHeld(progress: StepProgress, step: StepRow, what: 'The run' | 'The host'): void {
  const was = what === 'The run' ? 'stopped' : 'cancelled';
  const message = `${step.errorMessage ?? 'What happened on the target is not known.'} ${what} was ${was} while the step waited for a decision.`;
  const advice = 'Look on the target before you run it again.';
  progress.heldEnds(step, { status: 'unknown', reason: step.reason, message, advice });
}

function giveUp(progress: StepProgress, step: StepRow, outcome: StepOutcome): void {
  progress.attemptEnded(step, {
    outcome,
    output: { state: 'gapped', digest: null, gaps: [] },
    requestId: null,
    startedAt: step.startedAt,
    isLast: true,
  });
}
