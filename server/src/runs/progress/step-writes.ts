// Collects what a transaction changes in steps while it is being decided, reports it to readers through the ledger, and
// writes it all together.

import type { OutputState, StepOutcome } from '@opsconductor/protocol';
import type { Tx } from '../../store/database/connection.ts';
import { wantCleanUps } from '../../store/queue/attempts/clean-ups.ts';
import { type SettledAttempt, writeAttempts } from '../../store/queue/attempts/step-attempts.ts';
import type { ClaimedStep } from '../../store/queue/claims/claims.ts';
import type { StepRow, TargetRunRow, WaitingStep } from '../../store/runs/progress/progress-rows.ts';
import {
  closeSteps,
  closeWaitingSteps,
  makeReady,
  type NextLease,
  reasonsOfWaiting,
  reviveSkipped,
  type SettledStep,
  writeNextLeases,
  writeRetries,
  writeSettledSteps,
} from '../../store/runs/progress/progress-writes.ts';
import { cleanText } from '../clean-text.ts';
import { howItEnded } from '../how-it-ended.ts';
import { newLeaseToken } from '../leases/lease-token.ts';
import type { StepChange } from './run-changes.ts';
import type { RunLedger } from './run-ledger.ts';

/** A session that takes the next step if it can, and more steps ahead of their turn. */
export interface NextFor {
  /** How many steps it takes ahead, beyond the next one. */
  ahead: number;
  agentId: number;
  sessionNumber: number;
  capabilities: readonly string[];
}

export interface AttemptName {
  step: number;
  epoch: number;
}

/** How an attempt ended. */
export interface AttemptResult {
  outcome: StepOutcome;
  output: { state: OutputState; digest: string | null; gaps: readonly (readonly [number, number])[] };
  /** Id of the agent's completion request; `null` if the server gave the attempt up. */
  requestId: string | null;
  startedAt: Date | null;
  /** Ends the step, whatever its retry rules say, because nothing of the run is to go on. */
  isLast?: true;
  /** The session that takes the next step, if it asked for one. */
  nextFor?: NextFor | undefined;
}

/** How a step is closed that has not run. */
type Closed = 'skipped' | 'cancelled' | 'timed_out';

export class StepWrites {
  readonly #tx: Tx;
  readonly #ledger: RunLedger;
  /** By `agent.session`. */
  readonly #agentNames: ReadonlyMap<string, string>;
  readonly #attempts: SettledAttempt[] = [];
  readonly #settled: SettledStep[] = [];
  readonly #retries: { id: number; inS: number; advice: string }[] = [];
  readonly #ready: { id: number; isCleanUp: boolean }[] = [];
  readonly #revived: number[] = [];
  readonly #closed: { id: number; status: Closed; reason: string | null }[] = [];
  readonly #closeAll = new Map<Closed, number[]>();
  readonly #leases: {
    lease: NextLease;
    step: WaitingStep | StepRow;
    after: AttemptName | undefined;
  }[] = [];
  readonly #cleanUps: { stepId: number; epoch: number; segmentId: number; atOnce: boolean }[] = [];

  constructor(tx: Tx, ledger: RunLedger, agentNames: ReadonlyMap<string, string>) {
    this.#tx = tx;
    this.#ledger = ledger;
    this.#agentNames = agentNames;
  }

  endAttempt(step: StepRow, result: AttemptResult): void {
    const { output, requestId } = result;
    const { id, errorMessage, outputState, heldForS, ...ended } = settledRow(step, result);
    this.#attempts.push({
      ...ended,
      stepId: id,
      epoch: step.epoch,
      message: errorMessage,
      requestId,
      status: result.outcome.status,
      outputState: output.state,
      outputDigest: output.digest,
      outputGaps: output.gaps.length > 0 ? output.gaps : null,
    });
  }

  /**
   * Asks for a clean-up of an attempt that was given up: an agent looks on the target at once, or at the step's
   * deadline.
   */
  cleanUp({ id, epoch, segmentId }: StepRow, atOnce: boolean): void {
    this.#cleanUps.push({ stepId: id, epoch, segmentId, atOnce });
  }

  /** Ends or holds the step. */
  settle(step: StepRow, row: SettledStep): void {
    this.#settled.push(row);
    const agentName = this.#agentNames.get(`${step.agentId}.${step.sessionNumber}`);
    const change: StepChange = {
      id: step.id,
      status: row.status,
      attempt: step.epoch,
      attempts: step.epoch - step.unbegun,
      ...(agentName === undefined ? {} : { agentName }),
      leasedAt: step.leasedAt?.toISOString() ?? null,
      startedAt: row.startedAt?.toISOString() ?? null,
      completedAt: row.status === 'held' ? null : this.#ledger.now.toISOString(),
      ...howItEnded(row),
      errorMessage: row.errorMessage,
      advice: row.advice,
      survivors: row.survivors ?? [],
      detections: row.detections ?? [],
      notBefore: null,
      heldUntil: row.heldForS === null ? null : this.#inS(row.heldForS),
      outputState: row.outputState,
      outputSeq: step.outputSeq,
      outputBytes: step.outputBytes,
    };
    // A first attempt starts from the values that every step is created with, so unset values needn't be in the event.
    const isFirst = step.epoch === 1 && step.status === 'running';
    this.#ledger.noteStep(step.jobRunId, isFirst ? withoutUnset(change) : change);
  }

  retry(step: StepRow, { inS, advice }: { inS: number; advice: string }): void {
    this.#retries.push({ id: step.id, inS, advice });
    this.#ledger.noteStep(step.jobRunId, {
      id: step.id,
      status: 'ready',
      // A short attempt ends before its lease was told.
      attempt: step.epoch,
      attempts: step.epoch - step.unbegun,
      notBefore: inS === 0 ? null : this.#inS(inS),
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
      detections: [],
    });
  }

  makeReady(step: Pick<WaitingStep, 'id' | 'jobRunId' | 'segmentId'>, isCleanUp: boolean): void {
    this.#ready.push({ id: step.id, isCleanUp });
    this.#ledger.wakeSegment(step.segmentId);
    this.#ledger.noteStep(step.jobRunId, { id: step.id, status: 'ready' });
  }

  close(step: WaitingStep, status: Closed, reason: string | null): void {
    this.#closed.push({ id: step.id, status, reason });
    this.#ledger.countStepEnds(step.jobRunId, status);
    this.#ledger.noteStep(step.jobRunId, { id: step.id, status, reason });
  }

  /** Closes a step that was leased ahead of its turn, which can't come any more. Its agent will not begin it. */
  closeAhead(step: StepRow, status: Closed): void {
    const reason = reasonsOfWaiting[status];
    this.#closed.push({ id: step.id, status, reason });
    this.#ledger.countStepEnds(step.jobRunId, status);
    this.#ledger.noteStep(step.jobRunId, {
      id: step.id,
      status,
      reason,
      agentName: null,
      leasedAt: null,
      attempts: step.epoch - step.unbegun - 1,
      outputState: 'complete',
    });
  }

  /** Closes all steps of the target run that are still waiting. */
  closeAll(target: Pick<TargetRunRow, 'id'>, status: Closed): void {
    this.#closeAll.set(status, [...(this.#closeAll.get(status) ?? []), target.id]);
  }

  /** Makes a skipped step wait again. */
  revive({ id, jobRunId }: WaitingStep): void {
    this.#revived.push(id);
    this.#ledger.countStepEnds(jobRunId, 'skipped', -1);
    this.#ledger.noteStep(jobRunId, { id, status: 'pending', completedAt: null, reason: null });
  }

  /** @param after the attempt that it follows, if it is leased ahead of its turn. */
  lease(step: WaitingStep | StepRow, { agentId, sessionNumber }: NextFor, after?: AttemptName): AttemptName {
    const lease: NextLease = {
      id: step.id,
      epoch: step.epoch + 1,
      attemptDay: this.#ledger.now.toISOString().slice(0, 10),
      leaseToken: newLeaseToken(),
      agentId,
      sessionNumber,
    };
    this.#leases.push({ lease, step, after });
    return { step: step.id, epoch: lease.epoch };
  }

  /** Returns the steps that were leased to sessions that asked for more, in the order of each target run. */
  takeLeases(): ClaimedStep[] {
    return this.#leases.map(({ lease, step, after }) => {
      this.#ledger.noteStep(step.jobRunId, {
        id: step.id,
        status: 'running',
        attempt: lease.epoch,
        attempts: lease.epoch - step.unbegun,
        agentName: this.#agentNames.get(`${lease.agentId}.${lease.sessionNumber}`) ?? null,
        leasedAt: this.#ledger.now.toISOString(),
        outputState: 'open',
      });
      const { jobRunId, targetRunId, segmentId, stepNumber, stepType } = step;
      const { epoch, leaseToken, agentId, sessionNumber, attemptDay } = lease;
      const place = { id: step.id, jobRunId, targetRunId, segmentId, stepNumber, stepType };
      const claimed = { ...place, epoch, leaseToken, agentId, sessionNumber, attemptDay };
      return after === undefined ? claimed : { ...claimed, after };
    });
  }

  /**
   * Closes steps that can no longer follow. Call it before the ledger is written, which counts and reports what was
   * closed.
   */
  async closeSuccessors(): Promise<void> {
    // A step whose wait has ended still waits in the database.
    const but = this.#settled.map(({ id }) => id);
    const closing = [...this.#closeAll].map(async ([status, targetRunIds]) => {
      for (const closed of await closeWaitingSteps(this.#tx, targetRunIds, { status, but })) {
        this.#ledger.countStepEnds(closed.jobRunId, status);
        this.#ledger.noteStep(closed.jobRunId, { id: closed.id, status, reason: reasonsOfWaiting[status] });
      }
    });
    await Promise.all(closing);
  }

  /** Writes everything else, sent together. Attempts come first, because they are copied from the live step rows. */
  send(): Promise<void>[] {
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

  #inS(seconds: number): string {
    return new Date(this.#ledger.now.getTime() + seconds * 1000).toISOString();
  }
}

/** Returns a step's row as its attempt ended. */
export function settledRow(step: StepRow, { outcome, output, startedAt }: AttemptResult): SettledStep {
  return {
    id: step.id,
    status: outcome.status,
    startedAt,
    exitCode: outcome.exitCode ?? null,
    signal: cleanText(outcome.signal),
    reason: outcome.reason ?? null,
    errorMessage: cleanText(outcome.message),
    advice: cleanText(outcome.advice),
    survivors: survivorsOf(outcome),
    detections: outcome.detections ?? null,
    executionTimeMs: outcome.executionTimeMs ?? null,
    cpuMs: outcome.cpuMs ?? null,
    peakMemoryBytes: outcome.peakMemoryBytes ?? null,
    outputState: output.state,
    heldForS: null,
  };
}

/** Returns the row of a held or ready step with what its last attempt left. */
export function keptRow(step: StepRow): SettledStep {
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
    detections: null,
    executionTimeMs: null,
    cpuMs: null,
    peakMemoryBytes: null,
    outputState: step.outputState,
    heldForS: null,
  };
}

function survivorsOf({ survivors }: StepOutcome): SettledStep['survivors'] {
  return survivors?.map(({ pid, command }) => ({ pid, command: cleanText(command) ?? '' })) ?? null;
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
