// What one transaction does to the steps of runs: ends them, holds them, has them tried again, and moves on what follows
// in their target runs. Collected first and written together. Runs, target runs and steps are locked by the caller.
import {
  isRunEnded,
  type OutputState,
  type RunStatus,
  type StepOutcome,
  type StepStatus,
} from '@opsconductor/protocol';
import { plainRules, type StepRules } from '../jobs/step-rules.ts';
import type { Tx } from '../store/database/connection.ts';
import type { ClaimedStep } from '../store/queue/claims.ts';
import { wantCleanUps } from '../store/queue/clean-ups.ts';
import { endedAttempts, type SettledAttempt, writeAttempts } from '../store/queue/step-attempts.ts';
import {
  closeSteps,
  closeWaitingSteps,
  lockUnrunSteps,
  makeReady,
  type NextLease,
  reviveSkipped,
  type SettledStep,
  type StepRow,
  type TargetRunRow,
  type WaitingStep,
  writeNextLeases,
  writeRetries,
  writeSettledSteps,
} from '../store/runs/run-progress.ts';
import { type AfterAttempt, afterAttempt } from './after-attempt.ts';
import { cleanText, outcomeText, runError } from './clean-text.ts';
import { type Course, cleanUp, followStep, giveUpCleanUp, type StepEnd } from './follow-step.ts';
import { newLeaseToken } from './lease-token.ts';
import { type RunLedger, type StepChange, stoppedStatus } from './run-ledger.ts';

/** A session that takes the next step, where it can. */
export interface NextFor {
  agentId: number;
  sessionNumber: number;
  capabilities: readonly string[];
}

/** How an attempt ended. */
export interface AttemptResult {
  outcome: StepOutcome;
  output: { state: OutputState; digest: string | null; gaps: readonly (readonly [number, number])[] };
  /** Of the agent's completion; null where the server gave the attempt up. */
  requestId: string | null;
  startedAt: Date | null;
  /** Its step ends with it, whatever its rules say: nothing of the run is to go on. */
  isLast?: true;
  /** The session that takes the next step, where it asks for one. */
  nextFor?: NextFor | undefined;
}

/** How a step ends that no attempt of its own ends now. */
export interface StepVerdict {
  status: StepEnd;
  reason: string | null;
  message: string | null;
  advice: string | null;
}

type Later = WaitingStep & { when: StepRules['when'] };

export class StepProgress {
  readonly #tx: Tx;
  readonly #ledger: RunLedger;
  readonly #targetRuns: ReadonlyMap<number, TargetRunRow>;
  readonly #steps: ReadonlyMap<number, StepRow>;
  readonly #nextOf = new Map<number, StepRow>();
  readonly #agentNames: ReadonlyMap<string, string>;
  readonly #random: () => number;
  #unrun = new Map<number, WaitingStep[]>();
  #tries = new Map<number, number>();
  readonly #attempts: SettledAttempt[] = [];
  readonly #settled: SettledStep[] = [];
  readonly #retries: { id: number; inS: number; advice: string }[] = [];
  readonly #ready: { id: number; isCleanUp: boolean }[] = [];
  readonly #revived: number[] = [];
  readonly #closed: { id: number; status: 'skipped' | 'cancelled' | 'timed_out'; reason: string | null }[] =
    [];
  readonly #closeAll = new Map<'skipped' | 'cancelled' | 'timed_out', number[]>();
  readonly #leases: { lease: NextLease; step: WaitingStep | StepRow }[] = [];
  readonly #cleanUps: { stepId: number; epoch: number; segmentId: number; atOnce: boolean }[] = [];

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
    const byPlace = new Map(of.steps.map((row) => [`${row.targetRunId}.${row.stepNumber}`, row]));
    for (const row of of.steps) {
      const next = byPlace.get(`${row.targetRunId}.${row.stepNumber + 1}`);
      if (next !== undefined) this.#nextOf.set(row.id, next);
    }
    this.#agentNames = options.agentNames ?? new Map();
    this.#random = options.random ?? Math.random;
  }

  /**
   * Reads what deciding on these steps needs beyond their own rows: of runs with rules of their own, and of unknown steps
   * that are decided after all. Call it once, before anything is decided.
   */
  async prepare(stepIds: readonly number[]): Promise<void> {
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

  step(id: number): StepRow | undefined {
    return this.#steps.get(id);
  }

  targetRun(step: Pick<StepRow, 'targetRunId'>): TargetRunRow {
    const target = this.#targetRuns.get(step.targetRunId);
    if (target === undefined) throw new Error('a locked target run is missing');
    return target;
  }

  // ---- what may happen to a step

  /** The live attempt of a running step has ended. */
  attemptEnded(step: StepRow, result: AttemptResult): void {
    const { outcome, output } = result;
    this.#ledger.markStarted(step.jobRunId);
    this.#attempts.push({
      stepId: step.id,
      epoch: step.epoch,
      status: outcome.status,
      startedAt: result.startedAt,
      exitCode: outcome.exitCode ?? null,
      signal: cleanText(outcome.signal),
      reason: outcome.reason ?? null,
      message: cleanText(outcome.message),
      advice: cleanText(outcome.advice),
      survivors: survivorsOf(outcome),
      outputState: output.state,
      outputDigest: output.digest,
      outputGaps: output.gaps.length > 0 ? output.gaps : null,
      requestId: result.requestId,
      executionTimeMs: outcome.executionTimeMs ?? null,
      cpuMs: outcome.cpuMs ?? null,
      peakMemoryBytes: outcome.peakMemoryBytes ?? null,
    });
    const after: AfterAttempt = result.isLast === true ? { is: 'end' } : this.#after(step, outcome);
    if (outcome.status === 'unknown') {
      this.#cleanUps.push({
        stepId: step.id,
        epoch: step.epoch,
        segmentId: step.segmentId,
        atOnce: this.#isCancelling(step) || after.is === 'retry',
      });
    }
    this.#goOn(step, result, after, 1);
  }

  /** What became of an attempt that had left its step held or unknown: it decides the step. */
  resultCameLate(step: StepRow, result: AttemptResult, error: string): void {
    const before = step.status;
    const sentence = `The agent reported this after the step had been ${before}.`;
    const advice = result.outcome.advice === undefined ? sentence : `${result.outcome.advice} ${sentence}`;
    if (before === 'unknown') this.#reopen(step, error);
    const late = { ...result, outcome: { ...result.outcome, advice } };
    this.#goOn(step, late, this.#after(step, late.outcome), 0);
  }

  /** A held step ends by what a person says, or because nobody said anything in time. */
  heldEnds(step: StepRow, verdict: StepVerdict): void {
    this.#settle(step, {
      ...this.#kept(step),
      status: verdict.status,
      reason: verdict.reason,
      errorMessage: verdict.message,
      advice: verdict.advice,
    });
    this.#endStep(step, verdict.status, verdict.message === null ? {} : { message: verdict.message });
  }

  /**
   * Nobody has taken a ready step in time. What cleans up after it is waited for in its turn; where it is to clean up
   * itself, nothing more is.
   */
  waitEnds(step: StepRow, { reason, message, advice }: Omit<StepVerdict, 'status'>): void {
    this.#settle(step, { ...this.#kept(step), status: 'timed_out', reason, errorMessage: message, advice });
    this.#ledger.countStepEnds(step.jobRunId, { completed: 1, failed: 0 });
    if (!step.isCleanUp) {
      this.#follow(step, 'timed_out', message === null ? {} : { message });
      return;
    }
    const target = this.targetRun(step);
    const cancelling = this.#isCancelling(step);
    const first = (target.firstFailure as StepEnd | null) ?? 'timed_out';
    this.#take(target, giveUpCleanUp(first, this.#laterOf(step), cancelling), cancelling, undefined);
  }

  /** A held step is run again. */
  heldIsRetried(step: StepRow, advice: string): void {
    this.#retry(step, { inS: 0, advice });
  }

  /** An idle target run that has begun is told to stop: what cleans up still runs, the rest is closed. */
  stopIdle(
    target: TargetRunRow,
    waiting: readonly WaitingStep[],
    status: 'cancelled' | 'timed_out',
  ): RunStatus | undefined {
    const later = waiting.map((step) => ({ ...step, when: this.#rulesOf(step).when }));
    const course = cleanUp((target.firstFailure as StepEnd | null) ?? status, later, true);
    for (const { step } of course.closed) this.#close(step, status, null);
    if (course.next !== undefined) {
      this.#ledger.setFirstFailure(target, course.firstFailure);
      this.#makeReady(course.next, true);
    }
    return course.end;
  }

  // ---- how it goes on

  #goOn(step: StepRow, result: AttemptResult, after: AfterAttempt, tries: 0 | 1): void {
    const { outcome, output } = result;
    if (after.is === 'retry') {
      const number = (this.#tries.get(step.id) ?? 0) + tries;
      const text = `Try ${number} of ${after.of} ended ${outcome.status.replace('_', ' ')}: ${outcomeText(outcome)}`;
      this.#retry(step, { inS: after.inS, advice: text });
      return;
    }
    const row: SettledStep = {
      id: step.id,
      status: outcome.status,
      startedAt: result.startedAt,
      exitCode: outcome.exitCode ?? null,
      signal: cleanText(outcome.signal),
      reason: outcome.reason ?? null,
      errorMessage: cleanText(outcome.message),
      advice: cleanText(outcome.advice),
      survivors: survivorsOf(outcome),
      executionTimeMs: outcome.executionTimeMs ?? null,
      cpuMs: outcome.cpuMs ?? null,
      peakMemoryBytes: outcome.peakMemoryBytes ?? null,
      outputState: output.state,
      heldForS: null,
    };
    if (after.is === 'hold') {
      this.#settle(step, { ...row, status: 'held', heldForS: after.forS });
      this.#ledger.changeTargetRun(this.targetRun(step), 'held');
      return;
    }
    this.#settle(step, row);
    // What has not run for its own condition is in nobody's way.
    const status = outcome.status === 'skipped' ? 'succeeded' : outcome.status;
    this.#endStep(step, status, outcome, result.nextFor);
  }

  #after(step: StepRow, outcome: StepOutcome): AfterAttempt {
    const cancelling = this.#isCancelling(step);
    if (cancelling && !step.isCleanUp) return { is: 'end' };
    const isNew = step.status === 'running';
    const tries = (this.#tries.get(step.id) ?? 0) + (isNew ? 1 : 0);
    const after = afterAttempt(outcome, { rules: this.#rulesOf(step), tries, random: this.#random });
    // Who cancels a run is not asked about it again.
    return cancelling && after.is === 'hold' ? { is: 'end' } : after;
  }

  #retry(step: StepRow, { inS, advice }: { inS: number; advice: string }): void {
    this.#retries.push({ id: step.id, inS, advice });
    this.#ledger.noteStep(step.jobRunId, {
      id: step.id,
      status: 'ready',
      notBefore: inS === 0 ? null : new Date(this.#ledger.now.getTime() + inS * 1000).toISOString(),
      heldUntil: null,
      agentName: null,
      leasedAt: null,
      startedAt: null,
      completedAt: null,
      executionTimeMs: null,
      cpuMs: null,
      peakMemoryBytes: null,
      exitCode: null,
      signal: null,
      reason: null,
      errorMessage: null,
      advice,
      survivors: [],
    });
    this.#ledger.changeTargetRun(this.targetRun(step), this.#isCancelling(step) ? 'cancelling' : 'running');
    this.#ledger.wakeSegment(step.segmentId);
  }

  /** The step has its outcome: counts it and moves its target run on. */
  #endStep(
    step: StepRow,
    status: StepEnd,
    outcome: Pick<StepOutcome, 'message' | 'exitCode' | 'reason'>,
    nextFor?: AttemptResult['nextFor'],
  ): void {
    const failed = status === 'failed' || status === 'timed_out';
    this.#ledger.countStepEnds(step.jobRunId, { completed: 1, failed: failed ? 1 : 0 });
    this.#follow(step, status, outcome, nextFor);
  }

  /** Moves its target run on, and says in the run what went wrong. */
  #follow(
    step: StepRow,
    status: StepEnd,
    outcome: Pick<StepOutcome, 'message' | 'exitCode' | 'reason'>,
    nextFor?: AttemptResult['nextFor'],
  ): void {
    const target = this.targetRun(step);
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
    // What was cancelled while the outcome was not known stays so.
    const wasCancelled = status === 'succeeded' && later.some((other) => other.status === 'cancelled');
    const course = followStep(wasCancelled ? 'cancelled' : status, {
      later: later.filter((other) => other.status === 'pending'),
      firstFailure: target.firstFailure as StepEnd | null,
      cancelling,
    });
    this.#take(target, course, cancelling, nextFor);
  }

  #take(
    target: TargetRunRow,
    course: Course<Later>,
    cancelling: boolean,
    nextFor: AttemptResult['nextFor'],
  ): void {
    for (const { step, status, reason } of course.closed) this.#close(step, status, reason);
    if (course.next === undefined) {
      if (course.end === undefined) throw new Error('a target run neither goes on nor ends');
      this.#ledger.changeTargetRun(target, course.end);
      return;
    }
    this.#ledger.setFirstFailure(target, course.firstFailure);
    this.#ledger.changeTargetRun(target, cancelling ? 'cancelling' : 'running');
    if (nextFor !== undefined && !course.isCleanUp && canTake(nextFor, course.next))
      this.#lease(course.next, nextFor);
    else this.#makeReady(course.next, course.isCleanUp);
  }

  /** In a run whose steps have no order of their own, only the next one is known. */
  #followPlainly(
    step: StepRow,
    target: TargetRunRow,
    status: StepEnd,
    cancelling: boolean,
    nextFor: AttemptResult['nextFor'],
  ): void {
    const next = this.#nextOf.get(step.id);
    if (next === undefined || (status === 'succeeded' && !cancelling)) {
      if (next === undefined) {
        this.#ledger.endTargetRun(target, status);
        return;
      }
      this.#ledger.changeTargetRun(target, 'running');
      if (next.status !== 'pending') return;
      if (nextFor === undefined || !canTake(nextFor, next)) this.#makeReady(next, false);
      else this.#lease(next, nextFor);
      return;
    }
    const run = this.#ledger.run(step.jobRunId);
    const stopped = run === undefined ? 'cancelled' : stoppedStatus(run);
    const how = cancelling ? stopped : 'skipped';
    this.#closeAll.set(how, [...(this.#closeAll.get(how) ?? []), target.id]);
    this.#ledger.endTargetRun(target, status === 'succeeded' ? stopped : status);
  }

  /** Undoes what was concluded from not knowing: the target run goes on, what was skipped waits again. */
  #reopen(step: StepRow, error: string): void {
    const target = this.targetRun(step);
    this.#ledger.reopenTargetRun(target, error);
    this.#ledger.setFirstFailure(target, step.isCleanUp ? target.firstFailure : null);
    this.#ledger.countStepEnds(step.jobRunId, { completed: -1, failed: 0 });
    for (const other of this.#unrun.get(step.targetRunId) ?? []) {
      if (other.stepNumber <= step.stepNumber) continue;
      if (other.status !== 'skipped' || other.reason !== 'predecessor') continue;
      other.status = 'pending';
      this.#revived.push(other.id);
      this.#ledger.countStepEnds(step.jobRunId, { completed: -1, failed: 0 });
      this.#ledger.noteStep(step.jobRunId, {
        id: other.id,
        status: 'pending',
        completedAt: null,
        reason: null,
      });
    }
  }

  #laterOf(step: StepRow): Later[] {
    return (this.#unrun.get(step.targetRunId) ?? [])
      .filter((other) => other.stepNumber > step.stepNumber)
      .sort((a, b) => a.stepNumber - b.stepNumber)
      .map((other) => ({ ...other, when: this.#rulesOf(other).when }));
  }

  #lease(step: WaitingStep | StepRow, { agentId, sessionNumber }: NextFor): void {
    const lease: NextLease = {
      id: step.id,
      epoch: step.epoch + 1,
      attemptDay: this.#ledger.now.toISOString().slice(0, 10),
      leaseToken: newLeaseToken(),
      agentId,
      sessionNumber,
    };
    this.#leases.push({ lease, step });
  }

  #makeReady(step: Pick<WaitingStep, 'id' | 'jobRunId' | 'segmentId'>, isCleanUp: boolean): void {
    this.#ready.push({ id: step.id, isCleanUp });
    this.#ledger.wakeSegment(step.segmentId);
    this.#ledger.noteStep(step.jobRunId, { id: step.id, status: 'ready' });
  }

  #close(step: WaitingStep, status: 'skipped' | 'cancelled' | 'timed_out', reason: string | null): void {
    this.#closed.push({ id: step.id, status, reason });
    this.#ledger.countStepEnds(step.jobRunId, { completed: 1, failed: 0 });
    this.#ledger.noteStep(step.jobRunId, { id: step.id, status });
  }

  /** Of a held step: what its attempt left. */
  #kept(step: StepRow): SettledStep {
    return {
      id: step.id,
      status: step.status,
      startedAt: step.startedAt,
      exitCode: null,
      signal: null,
      reason: step.reason,
      errorMessage: step.errorMessage,
      advice: null,
      survivors: null,
      executionTimeMs: null,
      cpuMs: null,
      peakMemoryBytes: null,
      outputState: step.outputState,
      heldForS: null,
    };
  }

  #settle(step: StepRow, row: SettledStep): void {
    this.#settled.push(row);
    const ledger = this.#ledger;
    const agentName = this.#agentNames.get(`${step.agentId}.${step.sessionNumber}`);
    const change: StepChange = {
      id: step.id,
      status: row.status as StepStatus,
      attempt: step.epoch,
      ...(agentName === undefined ? {} : { agentName }),
      leasedAt: step.leasedAt?.toISOString() ?? null,
      startedAt: row.startedAt?.toISOString() ?? null,
      completedAt: row.status === 'held' ? null : ledger.now.toISOString(),
      executionTimeMs: row.executionTimeMs,
      cpuMs: row.cpuMs,
      peakMemoryBytes: row.peakMemoryBytes,
      exitCode: row.exitCode,
      signal: row.signal,
      reason: row.reason,
      errorMessage: row.errorMessage,
      advice: row.advice,
      survivors: (row.survivors ?? []) as { pid: number; command: string }[],
      notBefore: null,
      heldUntil: heldUntilOf(row, ledger.now),
      outputState: row.outputState,
      outputSeq: step.outputSeq,
      outputBytes: step.outputBytes,
    };
    // The first attempt finds the values that a step is born with; they need not be told.
    const isFirst = step.epoch === 1 && step.status === 'running';
    ledger.noteStep(step.jobRunId, isFirst ? withoutUnset(change) : change);
  }

  // ---- rules

  #rulesOf({ jobRunId, stepNumber }: Pick<StepRow, 'jobRunId' | 'stepNumber'>): StepRules {
    return this.#ledger.run(jobRunId)?.stepRules?.[stepNumber - 1] ?? plainRules;
  }

  /** Whether steps of the run say after what they run. */
  #hasOrder(runId: number): boolean {
    return this.#ledger.run(runId)?.stepRules?.some((rules) => rules.when !== 'success') ?? false;
  }

  #isCancelling({ jobRunId }: Pick<StepRow, 'jobRunId'>): boolean {
    return this.#ledger.run(jobRunId)?.status === 'cancelling';
  }

  // ---- writing

  /** Steps that were leased to who asked for the next one, by target run. */
  takeLeases(): Map<number, ClaimedStep> {
    const claimed = new Map<number, ClaimedStep>();
    for (const { lease, step } of this.#leases) {
      this.#ledger.noteStep(step.jobRunId, {
        id: step.id,
        status: 'running',
        attempt: lease.epoch,
        agentName: this.#agentNames.get(`${lease.agentId}.${lease.sessionNumber}`) ?? null,
        leasedAt: this.#ledger.now.toISOString(),
        outputState: 'open',
      });
      const { jobRunId, targetRunId, segmentId, stepNumber, stepType } = step;
      const { epoch, leaseToken, agentId, sessionNumber, attemptDay } = lease;
      const place = { id: step.id, jobRunId, targetRunId, segmentId, stepNumber, stepType };
      claimed.set(targetRunId, { ...place, epoch, leaseToken, agentId, sessionNumber, attemptDay });
    }
    return claimed;
  }

  /** Closes what can't follow any more: before the ledger is written, since it tells and counts what that was. */
  async closeSuccessors(): Promise<void> {
    const closing = [...this.#closeAll].map(async ([status, targetRunIds]) => {
      for (const closed of await closeWaitingSteps(this.#tx, targetRunIds, status)) {
        this.#ledger.countStepEnds(closed.jobRunId, { completed: 1, failed: 0 });
        this.#ledger.noteStep(closed.jobRunId, { id: closed.id, status });
      }
    });
    await Promise.all(closing);
  }

  /** Everything else; sent together. Attempts are written from the live step rows, so before these change. */
  writes(): Promise<void>[] {
    const { now } = this.#ledger;
    return [
      writeAttempts(this.#tx, this.#attempts),
      wantCleanUps(this.#tx, this.#cleanUps),
      writeSettledSteps(this.#tx, this.#settled, now),
      writeRetries(this.#tx, this.#retries, now),
      reviveSkipped(this.#tx, this.#revived),
      closeSteps(this.#tx, this.#closed),
      makeReady(this.#tx, this.#ready),
      writeNextLeases(
        this.#tx,
        this.#leases.map(({ lease }) => lease),
        now,
      ),
    ];
  }
}

/**
 * Whether a late result may still decide its step. Not that of a clean-up step whose target run has ended with the failure
 * before it: that outcome is known, and stays.
 */
export function isUndecided(
  step: StepRow,
  targetRun: Pick<TargetRunRow, 'status'>,
  runStatus: RunStatus | undefined,
): boolean {
  if (runStatus === undefined || isRunEnded(runStatus)) return false;
  return step.status === 'held' || (step.status === 'unknown' && targetRun.status === 'unknown');
}

function canTake({ capabilities }: NextFor, { needs }: Pick<WaitingStep, 'needs'>): boolean {
  return needs === null || needs.every((need) => capabilities.includes(need));
}

function heldUntilOf({ heldForS }: SettledStep, now: Date): string | null {
  return heldForS === null ? null : new Date(now.getTime() + heldForS * 1000).toISOString();
}

function survivorsOf({ survivors }: StepOutcome) {
  return survivors?.map((entry) => ({ pid: entry.pid, command: cleanText(entry.command) })) ?? null;
}

function withoutUnset(change: StepChange): StepChange {
  const told: Record<string, unknown> = {};
  for (const key in change) {
    const value = change[key as keyof StepChange];
    if (value !== null && !isEmpty(value)) told[key] = value;
  }
  return told as unknown as StepChange;
}

function isEmpty(value: unknown): boolean {
  return Array.isArray(value) && value.length === 0;
}
