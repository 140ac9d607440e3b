// What one transaction does to the steps of runs: it ends, holds or retries them and moves their target runs on.
// Changes are collected first and written together. The caller locks runs, target runs and steps.
import {
  isRunEnded,
  limits,
  type RunStatus,
  type StepOutcome,
  type StepStatus,
} from '@opsconductor/protocol';
import { plainRules, type StepRules } from '../../jobs/definition/step-rules.ts';
import type { Tx } from '../../store/database/connection.ts';
import { endedAttempts } from '../../store/queue/attempts/step-attempts.ts';
import {
  hasBegun,
  lockUnrunSteps,
  type StepRow,
  type TargetRunRow,
  type WaitingStep,
} from '../../store/runs/progress/progress-rows.ts';
import { outcomeText, runError } from '../clean-text.ts';
import { type AfterAttempt, afterAttempt } from './after-attempt.ts';
import {
  type Course,
  cleanUp,
  followStep,
  giveUpCleanUp,
  type StepEnd,
  type Stopped,
} from './follow-step.ts';
import { isBeingCancelled, type RunLedger, stoppedStatus } from './run-ledger.ts';
import {
  type AttemptName,
  type AttemptResult,
  keptRow,
  type NextFor,
  StepWrites,
  settledRow,
} from './step-writes.ts';

/** How a step ends if that is not decided by an attempt that ends now. */
export interface StepVerdict {
  status: StepEnd;
  reason: string | null;
  message: string | null;
  advice: string | null;
}

type Later = WaitingStep & { when: StepRules['when'] };

export class StepProgress {
  /** Everything that was decided and is not written yet. */
  readonly writes: StepWrites;
  readonly #tx: Tx;
  readonly #ledger: RunLedger;
  readonly #targetRuns: ReadonlyMap<number, TargetRunRow>;
  readonly #steps: ReadonlyMap<number, StepRow>;
  readonly #nextOf = new Map<number, StepRow>();
  readonly #byPlace: ReadonlyMap<string, StepRow>;
  /** Steps whose own ends are decided here, so that nothing else ends them. */
  #deciding = new Set<number>();
  /** What was leased here, by step id. */
  readonly #leased = new Map<number, AttemptName>();
  /** The last step of each target run whose agent takes more, by target run. */
  readonly #taking = new Map<number, { step: StepRow; nextFor: NextFor }>();
  readonly #random: () => number;
  #unrun = new Map<number, WaitingStep[]>();
  #tries = new Map<number, number>();

  constructor(
    of: {
      tx: Tx;
      ledger: RunLedger;
      targetRuns: readonly TargetRunRow[];
      steps: readonly StepRow[];
    },
    options: { agentNames?: ReadonlyMap<string, string>; random?: (() => number) | undefined } = {},
  ) {
    this.#tx = of.tx;
    this.#ledger = of.ledger;
    this.#targetRuns = new Map(of.targetRuns.map((row) => [row.id, row]));
    this.#steps = new Map(of.steps.map((row) => [row.id, row]));
    this.#byPlace = new Map(of.steps.map((row) => [`${row.targetRunId}.${row.stepNumber}`, row]));
    for (const row of of.steps) {
      const next = this.#besides(row, 1);
      if (next !== undefined) this.#nextOf.set(row.id, next);
    }
    this.writes = new StepWrites(of.tx, of.ledger, options.agentNames ?? new Map());
    this.#random = options.random ?? Math.random;
  }

  /**
   * Reads what decisions on these steps need beyond the steps' own rows, for runs with rules of their own and for
   * unknown steps that are decided by a late result. Call it once, before anything is decided.
   */
  async prepare(stepIds: readonly number[]): Promise<void> {
    this.#deciding = new Set(stepIds);
    const steps = stepIds.flatMap((id) => this.#steps.get(id) ?? []);
    const needsLater = steps.filter((step) => step.status === 'unknown' || this.#hasOrder(step.jobRunId));
    const needsTries = steps.filter((step) => {
      const { retry, onUnknown } = this.#rulesOf(step);
      return retry !== null || onUnknown === 'retry';
    });
    const [unrun, tries] = await Promise.all([
      lockUnrunSteps(this.#tx, [...new Set(needsLater.map((step) => step.targetRunId))]),
      endedAttempts(
        this.#tx,
        needsTries.map((step) => step.id),
      ),
    ]);
    for (const step of unrun) {
      this.#unrun.set(step.targetRunId, [...(this.#unrun.get(step.targetRunId) ?? []), step]);
    }
    this.#tries = tries;
  }

  /** Names the steps whose own ends are decided. Others may be named in what was read, by agents that don't have them. */
  decides(stepIds: readonly number[]): void {
    this.#deciding = new Set(stepIds);
  }

  step(id: number): StepRow | undefined {
    return this.#steps.get(id);
  }

  targetRun(step: Pick<StepRow, 'targetRunId'>): TargetRunRow {
    const target = this.#targetRuns.get(step.targetRunId);
    if (target === undefined) throw new Error('a locked target run is missing');
    return target;
  }

  /** Whether an earlier step of its target run is leased and none of these. Its turn has not come then. */
  isAhead(step: StepRow, but: ReadonlySet<number>): boolean {
    for (let by = 1; by <= limits.maxStepsAhead; by += 1) {
      const earlier = this.#besides(step, -by);
      if (earlier?.status === 'running' && !but.has(earlier.id)) return true;
    }
    return false;
  }

  // ---- what may happen to a step

  /** Handles the end of a running step's live attempt. */
  attemptEnded(step: StepRow, result: AttemptResult): void {
    const { outcome } = result;
    this.#ledger.markStarted(this.targetRun(step), step.leasedAt);
    this.writes.endAttempt(step, result);
    // An agent that was given up may have gone on with what was leased to follow the step.
    const along =
      outcome.status === 'unknown' && result.requestId === null ? [...this.#leasedAfter(step)] : [];
    for (const { id } of along) this.#deciding.add(id);
    const after: AfterAttempt = result.isLast === true ? { is: 'end' } : this.#after(step, outcome);
    if (outcome.status === 'unknown') {
      this.writes.cleanUp(step, this.#isCancelling(step) || after.is === 'retry');
    }
    this.#goOn(step, result, after, 1);
    for (const later of along) this.#endAlong(later, result);
  }

  /**
   * Leases more steps to agents that take them, ahead of their turn. Call it once, after everything was decided.
   */
  leaseAhead(): void {
    for (const { step, nextFor } of this.#taking.values()) {
      let before: AttemptName | undefined;
      for (let by = 1; by <= nextFor.ahead + 1; by += 1) {
        const later = this.#besides(step, by);
        if (later === undefined) break;
        const leased = this.#leased.get(later.id) ?? leaseOf(later, nextFor);
        const mayFollow = before !== undefined && later.status === 'pending' && canTake(nextFor, later);
        if (leased === undefined && !mayFollow) break;
        before = leased ?? this.#lease(later, nextFor, before);
      }
    }
  }

  /** Handles a late result of the attempt that had left its step held or unknown: the result decides the step. */
  resultCameLate(step: StepRow, result: AttemptResult, error: string): void {
    const before = step.status;
    const sentence = `The agent reported this after the step had been ${before}.`;
    const advice = result.outcome.advice === undefined ? sentence : `${result.outcome.advice} ${sentence}`;
    if (before === 'unknown') this.#reopen(step, error);
    const late = { ...result, outcome: { ...result.outcome, advice } };
    this.#goOn(step, late, this.#after(step, late.outcome), 0);
  }

  /** Ends a held step, by a person's decision or because nobody decided in time. */
  heldEnds(step: StepRow, verdict: StepVerdict): void {
    this.writes.settle(step, {
      ...keptRow(step),
      status: verdict.status,
      reason: verdict.reason,
      errorMessage: verdict.message,
      advice: verdict.advice,
    });
    this.#ledger.countStepEnds(step.jobRunId, verdict.status);
    this.#follow(step, verdict.status, verdict.message === null ? {} : { message: verdict.message });
  }

  /**
   * Ends a ready step that no agent took in time. Steps that clean up after it wait for an agent in turn; but if it is
   * a clean-up step itself, the target run ends without waiting for any other.
   */
  waitEnds(step: StepRow, { reason, message, advice }: Omit<StepVerdict, 'status'>): void {
    this.writes.settle(step, {
      ...keptRow(step),
      status: 'timed_out',
      reason,
      errorMessage: message,
      advice,
    });
    this.#ledger.countStepEnds(step.jobRunId, 'timed_out');
    if (!step.isCleanUp) {
      this.#follow(step, 'timed_out', message === null ? {} : { message });
      return;
    }
    const target = this.targetRun(step);
    const first = (target.firstFailure as StepEnd | null) ?? 'timed_out';
    const course = giveUpCleanUp(first, this.#laterOf(step), this.#stoppedAs(step));
    this.#take(target, course, this.#isCancelling(step), undefined);
  }

  /** Runs a held step again. */
  heldIsRetried(step: StepRow, advice: string): void {
    this.#retry(step, { inS: 0, advice });
  }

  /** Stops an idle target run that has begun: the next clean-up step still runs, the steps before it are closed. */
  stopIdle(target: TargetRunRow, waiting: readonly WaitingStep[], status: Stopped): RunStatus | undefined {
    const later = waiting.map((step) => ({ ...step, when: this.#rulesOf(step).when }));
    const course = cleanUp((target.firstFailure as StepEnd | null) ?? status, later, status);
    for (const closed of course.closed) this.writes.close(closed.step, closed.status, closed.reason);
    if (course.next !== undefined) {
      this.#ledger.setFirstFailure(target, course.firstFailure);
      this.writes.makeReady(course.next, true);
    }
    return course.end;
  }

  /** Ends a step that was leased to follow one that was given up: it may have begun. */
  #endAlong(step: StepRow, result: AttemptResult): void {
    const own = { ...result, startedAt: step.startedAt };
    this.writes.endAttempt(step, own);
    this.writes.cleanUp(step, this.#isCancelling(step));
    this.writes.settle(step, settledRow(step, own));
    this.#ledger.countStepEnds(step.jobRunId, 'unknown');
  }

  // ---- how it goes on

  #goOn(step: StepRow, result: AttemptResult, after: AfterAttempt, tries: 0 | 1): void {
    const { outcome } = result;
    if (after.is === 'retry') {
      const number = (this.#tries.get(step.id) ?? 0) + tries;
      const text = `Try ${number} of ${after.of} ended ${outcome.status.replace('_', ' ')}: ${outcomeText(outcome)}`;
      this.#retry(step, { inS: after.inS, advice: text });
      return;
    }
    const row = settledRow(step, result);
    if (after.is === 'hold') {
      this.writes.settle(step, { ...row, status: 'held', heldForS: after.forS });
      this.#ledger.changeTargetRun(this.targetRun(step), 'held');
      return;
    }
    this.writes.settle(step, row);
    this.#ledger.countStepEnds(step.jobRunId, outcome.status);
    // A step that was skipped by its own condition doesn't keep others from running.
    const status = outcome.status === 'skipped' ? 'succeeded' : outcome.status;
    this.#follow(step, status, outcome, result.nextFor);
  }

  #after(step: StepRow, outcome: StepOutcome): AfterAttempt {
    const cancelling = this.#isCancelling(step);
    if (cancelling && !step.isCleanUp) return { is: 'end' };
    const isNew = step.status === 'running';
    const tries = (this.#tries.get(step.id) ?? 0) + (isNew ? 1 : 0);
    const after = afterAttempt(outcome, { rules: this.#rulesOf(step), tries, random: this.#random });
    // A person who cancels a run isn't asked to decide about it as well.
    return cancelling && after.is === 'hold' ? { is: 'end' } : after;
  }

  #retry(step: StepRow, { inS, advice }: { inS: number; advice: string }): void {
    this.writes.retry(step, { inS, advice });
    this.#ledger.changeTargetRun(this.targetRun(step), this.#isCancelling(step) ? 'cancelling' : 'running');
    this.#ledger.wakeSegment(step.segmentId);
  }

  /** Moves the target run on, and records in the run what went wrong. */
  #follow(
    step: StepRow,
    status: StepEnd,
    outcome: Pick<StepOutcome, 'message' | 'exitCode' | 'reason'>,
    nextFor?: AttemptResult['nextFor'],
  ): void {
    const target = this.targetRun(step);
    if (isRunEnded(target.status)) return;
    if (status === 'failed' || status === 'timed_out' || status === 'unknown') {
      this.#ledger.setError(
        step.jobRunId,
        runError(target.targetName, step.stepNumber, { status, ...outcome }),
      );
    }
    const cancelling = this.#isCancelling(step);
    if (!this.#hasOrder(step.jobRunId) && step.status !== 'unknown') {
      this.#followPlainly(step, target, status, cancelling, nextFor);
      return;
    }
    const later = this.#laterOf(step);
    // Steps that were stopped while the outcome was unknown stay so, and the target run ends as they did.
    const stoppedLater = later.map((other) => other.status).find(isStopped);
    const course = followStep(status === 'succeeded' ? (stoppedLater ?? status) : status, {
      later: later.filter((other) => other.status === 'pending'),
      firstFailure: target.firstFailure as StepEnd | null,
      stopped: this.#stoppedAs(step),
    });
    this.#take(target, course, cancelling, nextFor);
  }

  #take(
    target: TargetRunRow,
    course: Course<Later>,
    cancelling: boolean,
    nextFor: AttemptResult['nextFor'],
  ): void {
    for (const { step, status, reason } of course.closed) this.writes.close(step, status, reason);
    if (course.next === undefined) {
      if (course.end === undefined) throw new Error('a target run neither goes on nor ends');
      this.#ledger.changeTargetRun(target, course.end);
      return;
    }
    this.#ledger.setFirstFailure(target, course.firstFailure);
    this.#ledger.changeTargetRun(target, cancelling ? 'cancelling' : 'running');
    if (nextFor !== undefined && !course.isCleanUp && canTake(nextFor, course.next))
      this.writes.lease(course.next, nextFor);
    else this.writes.makeReady(course.next, course.isCleanUp);
  }

  /** Handles runs whose steps have no `when_status` rules: of the later steps, only the next one was read. */
  #followPlainly(
    step: StepRow,
    target: TargetRunRow,
    status: StepEnd,
    cancelling: boolean,
    nextFor: AttemptResult['nextFor'],
  ): void {
    const next = this.#nextOf.get(step.id);
    if (next === undefined) {
      this.#ledger.endTargetRun(target, status);
      return;
    }
    // A step that was leased ahead begins without asking, even if the run has been cancelled meanwhile. Its end is
    // awaited.
    if (status === 'succeeded' && (!cancelling || next.status === 'running')) {
      this.#ledger.changeTargetRun(target, cancelling ? 'cancelling' : 'running');
      if (nextFor !== undefined && !cancelling) this.#taking.set(target.id, { step, nextFor });
      else this.#taking.delete(target.id);
      if (next.status !== 'pending') return;
      if (nextFor === undefined || !canTake(nextFor, next)) this.writes.makeReady(next, false);
      else this.#lease(next, nextFor);
      return;
    }
    const stopped = this.#stoppedAs(step);
    const how = stopped ?? 'skipped';
    this.#taking.delete(target.id);
    for (const later of this.#leasedAfter(step)) {
      if (hasBegun(later)) this.#endAlong(later, outOfTurn(later));
      else this.writes.closeAhead(later, how);
    }
    this.writes.closeAll(target, how);
    this.#ledger.endTargetRun(target, status === 'succeeded' ? (stopped ?? 'cancelled') : status);
  }

  /** Undoes what was concluded while the outcome was unknown: the target run goes on, and skipped steps wait again. */
  #reopen(step: StepRow, error: string): void {
    const target = this.targetRun(step);
    this.#ledger.reopenTargetRun(target, error);
    this.#ledger.setFirstFailure(target, step.isCleanUp ? target.firstFailure : null);
    this.#ledger.countStepEnds(step.jobRunId, 'unknown', -1);
    for (const other of this.#unrun.get(step.targetRunId) ?? []) {
      if (other.stepNumber <= step.stepNumber) continue;
      if (other.status !== 'skipped' || other.reason !== 'predecessor') continue;
      other.status = 'pending';
      this.writes.revive(other);
    }
  }

  #lease(step: StepRow, nextFor: NextFor, after?: AttemptName): AttemptName {
    const leased = this.writes.lease(step, nextFor, after);
    this.#leased.set(step.id, leased);
    return leased;
  }

  /** The step `by` places after this one in its target run, if it was read. */
  #besides({ targetRunId, stepNumber }: StepRow, by: number): StepRow | undefined {
    return this.#byPlace.get(`${targetRunId}.${stepNumber + by}`);
  }

  /** Steps that were leased to follow this one, except those whose own ends are decided here. */
  *#leasedAfter(step: StepRow): Iterable<StepRow> {
    for (let by = 1; by <= limits.maxStepsAhead; by += 1) {
      const later = this.#besides(step, by);
      if (later?.status === 'running' && !this.#deciding.has(later.id)) yield later;
    }
  }

  #laterOf(step: StepRow): Later[] {
    return (this.#unrun.get(step.targetRunId) ?? [])
      .filter((other) => other.stepNumber > step.stepNumber)
      .sort((a, b) => a.stepNumber - b.stepNumber)
      .map((other) => ({ ...other, when: this.#rulesOf(other).when }));
  }

  // ---- rules

  #rulesOf({ jobRunId, stepNumber }: Pick<StepRow, 'jobRunId' | 'stepNumber'>): StepRules {
    return this.#ledger.run(jobRunId)?.stepRules?.[stepNumber - 1] ?? plainRules;
  }

  /** Whether a step of the run has a `when_status` other than `success`. */
  #hasOrder(runId: number): boolean {
    return this.#ledger.run(runId)?.stepRules?.some((rules) => rules.when !== 'success') ?? false;
  }

  #isCancelling(step: Pick<StepRow, 'jobRunId' | 'targetRunId'>): boolean {
    return isBeingCancelled(this.#ledger.run(step.jobRunId), this.targetRun(step));
  }

  /** How what waits in the target run ends, if it is being stopped. */
  #stoppedAs(step: Pick<StepRow, 'jobRunId' | 'targetRunId'>): Stopped | null {
    if (!this.#isCancelling(step)) return null;
    const run = this.#ledger.run(step.jobRunId);
    return run === undefined ? 'cancelled' : stoppedStatus(run, this.targetRun(step));
  }
}

function isStopped(status: StepStatus): status is Stopped {
  return status === 'cancelled' || status === 'timed_out';
}

/**
 * Whether a late result may still decide its step. It may not if a clean-up step is unknown and its target run has
 * ended with the earlier failure: that outcome is known and stays.
 */
export function isUndecided(
  step: StepRow,
  targetRun: Pick<TargetRunRow, 'status'>,
  runStatus: RunStatus | undefined,
): boolean {
  if (runStatus === undefined || isRunEnded(runStatus)) return false;
  return step.status === 'held' || (step.status === 'unknown' && targetRun.status === 'unknown');
}

/** The end of a step that its agent had begun although the one before it had not succeeded. */
function outOfTurn({ startedAt }: StepRow): AttemptResult {
  return {
    outcome: {
      status: 'unknown',
      reason: 'agent_restarted',
      message: 'The agent had begun the step before its turn: what happened on the target is not known.',
      advice: 'Look on the target before you run it again.',
    },
    output: { state: 'gapped', digest: null, gaps: [] },
    requestId: null,
    startedAt,
  };
}

/** The lease of a step if this session has it: nothing can follow what another one has. */
function leaseOf(
  { id, epoch, status, agentId, sessionNumber }: StepRow,
  session: Pick<NextFor, 'agentId' | 'sessionNumber'>,
): AttemptName | undefined {
  const isHeld = agentId === session.agentId && sessionNumber === session.sessionNumber;
  return status === 'running' && isHeld ? { step: id, epoch } : undefined;
}

function canTake({ capabilities }: NextFor, { needs }: Pick<WaitingStep, 'needs'>): boolean {
  return needs === null || needs.every((need) => capabilities.includes(need));
}
