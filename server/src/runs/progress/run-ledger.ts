// Collects what one transaction changes in locked runs, so that each run's counters, status and event are written once.
// Whether a run ends is decided only here, on the locked row.
import {
  aggregateRun,
  isRunEnded,
  isStepFailed,
  type RunStatus,
  type StepStatus,
  targetRunStatus,
} from '@opsconductor/protocol';
import type { Tx } from '../../store/database/connection.ts';
import { commitWithThese } from '../../store/database/transaction.ts';
import {
  endableUnbegun,
  openTargetRuns,
  takeOutOfOrder,
  writeStrategy,
} from '../../store/queue/strategy-steps.ts';
import { notifyProgress } from '../../store/runs/progress/progress-notices.ts';
import {
  lockRuns,
  type RunRow,
  type RunsOf,
  type TargetRunRow,
  worstOutputStates,
} from '../../store/runs/progress/progress-rows.ts';
import { closeAllWaiting, writeRuns, writeTargetRuns } from '../../store/runs/progress/progress-writes.ts';
import { insertRunEvents } from '../../store/runs/progress/run-events.ts';
import { followStrategy } from './follow-strategy.ts';
import {
  type ChangedRun,
  changesOf,
  executionTimeOf,
  maxChangesOfEvent,
  numberedEvents,
  portions,
  type StepChange,
} from './run-changes.ts';

/** How many runs and steps ended with which status. */
export interface EndedCounts {
  runs: ReadonlyMap<RunStatus, number>;
  steps: ReadonlyMap<StepStatus, number>;
}

/** What other parts of the system are told once the transaction has committed. */
export interface ProgressNews {
  runs: { id: number; seq: number; ended: boolean }[];
  /** Segments with newly ready steps. */
  segments: number[];
  /** Ids of runs whose running steps have to be stopped. */
  cancel: number[];
  /** Ids of target runs that were cancelled by themselves, whose running steps have to be stopped. */
  cancelTargetRuns?: number[];
  /** For this server's metrics only: other servers count their own. */
  ended?: EndedCounts;
}

interface RunEntry extends ChangedRun {
  touched: boolean;
  ended: boolean;
  /** Whether target runs have ended in this transaction, so that the strategy may open more. */
  endedTargets: boolean;
  /** Whether something changed that `writeStrategy` writes. */
  strategyChanged: boolean;
  steps: StepChange[];
  targetRuns: Map<number, TargetRunRow>;
}

/** Whether what has not begun on the target won't begin: its run or the target run itself was cancelled. */
export function isBeingCancelled(
  run: Pick<RunRow, 'status'> | undefined,
  target: Pick<TargetRunRow, 'cancelRequestedAt'>,
): boolean {
  return run?.status === 'cancelling' || target.cancelRequestedAt !== null;
}

/** Returns the status with which waiting steps and target runs end in a run or target run that is being stopped. */
export function stoppedStatus(
  run: Pick<RunRow, 'stopReason'>,
  target?: Pick<TargetRunRow, 'cancelRequestedAt'>,
): 'cancelled' | 'timed_out' {
  if (target !== undefined && target.cancelRequestedAt !== null) return 'cancelled';
  return run.stopReason === null ? 'cancelled' : 'timed_out';
}

export class RunLedger {
  /** The database's time when the locks were held. Everything that is written is dated by it. */
  now = new Date();
  readonly #tx: Tx;
  readonly #runs = new Map<number, RunEntry>();
  readonly #segments = new Set<number>();
  readonly #cancel = new Set<number>();
  readonly #cancelTargetRuns = new Set<number>();
  /** Who cancelled target runs here, by target run. */
  readonly #cancelledBy = new Map<number, string>();
  readonly #reopened = new Set<TargetRunRow>();
  readonly #stepEnds = new Map<StepStatus, number>();

  private constructor(tx: Tx) {
    this.#tx = tx;
  }

  /** Locks the runs. To keep the lock order, lock target runs and then steps after this. */
  static async open(tx: Tx, runs: RunsOf): Promise<RunLedger> {
    const ledger = new RunLedger(tx);
    for (const row of await lockRuns(tx, runs)) {
      ledger.now = row.now;
      ledger.#runs.set(row.id, {
        row,
        touched: false,
        ended: false,
        endedTargets: false,
        strategyChanged: false,
        steps: [],
        targetRuns: new Map(),
      });
    }
    return ledger;
  }

  run(id: number): RunRow | undefined {
    return this.#runs.get(id)?.row;
  }

  #entry(id: number): RunEntry {
    const entry = this.#runs.get(id);
    if (entry === undefined) throw new Error(`run ${id} is not locked by this transaction`);
    return entry;
  }

  /** Records a step's new values for the run's event. */
  noteStep(runId: number, change: StepChange): void {
    const entry = this.#entry(runId);
    entry.touched = true;
    entry.steps.push(change);
  }

  /** Counts steps that ended with this status; a negative number counts steps that are open again. */
  countStepEnds(runId: number, status: StepStatus, steps = 1): void {
    const { row } = this.#entry(runId);
    if (steps > 0) addTo(this.#stepEnds, status, steps);
    row.completedSteps += steps;
    if (isStepFailed(status)) row.failedSteps += steps;
  }

  /**
   * Records that a step of the target run was leased, which starts its run if that was queued. Both count from the first
   * lease, not from this transaction: a short step has ended by the time its lease is recorded.
   */
  markStarted(target: TargetRunRow, leasedAt: Date | null): void {
    const entry = this.#entry(target.jobRunId);
    const { row } = entry;
    const at = leasedAt ?? this.now;
    if (row.startedAt === null || at < row.startedAt) row.startedAt = at;
    target.startedAt ??= afterBatchBegan(row, at);
    if (row.status === 'queued') this.#setRunStatus(entry, 'running');
  }

  wakeSegment(segmentId: number): void {
    this.#segments.add(segmentId);
  }

  /**
   * Cancels the run. Agents are told even if the run has ended, because attempts that were given up may still be going
   * on.
   */
  requestCancel(runId: number): void {
    const entry = this.#entry(runId);
    entry.touched = true;
    this.#cancel.add(runId);
    if (!isRunEnded(entry.row.status)) this.#setRunStatus(entry, 'cancelling');
  }

  /**
   * Records who has cancelled a target run by itself. Agents are told even if it has ended, because attempts that were
   * given up may still be going on.
   */
  requestTargetRunCancel(target: TargetRunRow, by: string): void {
    const entry = this.#entry(target.jobRunId);
    entry.touched = true;
    entry.targetRuns.set(target.id, target);
    this.#cancelTargetRuns.add(target.id);
    this.#cancelledBy.set(target.id, by);
  }

  /** Has agents told again to stop what they have of a target run. */
  repeatTargetRunCancel(target: TargetRunRow): void {
    this.#entry(target.jobRunId).touched = true;
    this.#cancelTargetRuns.add(target.id);
  }

  /**
   * Takes a target run that the strategy holds back out of the order in which they open. It counts as one more of those
   * that have opened and, if there are batches, as one more of the open batch, because it ends at once: the batches
   * after it keep their sizes, and the open one still ends with the targets that it began with.
   */
  async passOver(target: TargetRunRow): Promise<void> {
    const entry = this.#entry(target.jobRunId);
    const { row } = entry;
    if (row.targetsOpened === null) return;
    row.targetsOpened += 1;
    if (row.batchEnd !== null && row.batchEnd < row.targetsTotal) row.batchEnd += 1;
    entry.strategyChanged = true;
    await takeOutOfOrder(this.#tx, target.id);
  }

  setError(runId: number, message: string): void {
    const { row } = this.#entry(runId);
    row.errorMessage ??= message;
  }

  /** Changes the status of a locked target run. If it was the last to end, the run ends too. */
  changeTargetRun(target: TargetRunRow, status: RunStatus): void {
    if (target.status === status || isRunEnded(target.status)) return;
    const entry = this.#entry(target.jobRunId);
    const { row } = entry;
    if (target.status === 'running' || target.status === 'cancelling') row.targetsRunning -= 1;
    if (status === 'running' || status === 'cancelling') row.targetsRunning += 1;
    if (target.status === 'held') row.targetsHeld -= 1;
    if (status === 'held') row.targetsHeld += 1;
    target.status = status;
    if (status !== 'cancelled' && status !== 'timed_out') target.startedAt ??= this.now;
    if (isRunEnded(status)) target.completedAt = this.now;
    entry.touched = true;
    entry.targetRuns.set(target.id, target);
    this.#holdOrGoOn(entry);
    entry.endedTargets ||= isRunEnded(status);
    if (!isRunEnded(status)) return;
    if (status === 'succeeded') row.targetsSucceeded += 1;
    else if (status === 'cancelled') row.targetsCancelled += 1;
    else if (status === 'timed_out') row.targetsTimedOut += 1;
    else if (status === 'unknown') row.targetsUnknown += 1;
    else row.targetsFailed += 1;
    if (status !== 'succeeded' && status !== 'cancelled') countBefore(entry, target, 1);
    this.#endRunIfLast(entry);
  }

  /** Records how the first step that failed ended, while other steps still follow it in the target run. */
  setFirstFailure(target: TargetRunRow, firstFailure: RunStatus | null): void {
    if (target.firstFailure === firstFailure) return;
    const entry = this.#entry(target.jobRunId);
    target.firstFailure = firstFailure;
    entry.touched = true;
    entry.targetRuns.set(target.id, target);
  }

  /**
   * Reopens a target run that had ended unknown, in a run that is still open, because a late result decides the step.
   * Change the target run's status after this.
   */
  reopenTargetRun(target: TargetRunRow, error: string): void {
    const entry = this.#entry(target.jobRunId);
    const { row } = entry;
    if (target.status !== 'unknown' || isRunEnded(row.status)) throw new Error('not to be reopened');
    row.targetsUnknown -= 1;
    countBefore(entry, target, -1);
    row.targetsRunning += 1;
    target.status = 'running';
    target.completedAt = null;
    if (row.errorMessage === error) row.errorMessage = null;
    entry.touched = true;
    this.#reopened.add(target);
    entry.targetRuns.set(target.id, target);
    this.#holdOrGoOn(entry);
  }

  /** Counts a late result that changes no outcome. The step's output may have become more complete, though. */
  countLateResult(runId: number): void {
    const entry = this.#entry(runId);
    entry.row.lateResults += 1;
    entry.touched = true;
  }

  /** A run is held while at least one of its target runs is held and none is running. */
  #holdOrGoOn(entry: RunEntry): void {
    const { status, targetsHeld, targetsRunning } = entry.row;
    if (targetsHeld > 0 && targetsRunning === 0) {
      if (status === 'queued' || status === 'running') this.#setRunStatus(entry, 'held');
    } else if (status === 'held') this.#setRunStatus(entry, 'running');
  }

  /** Ends the target run with the outcome of the step that ended it. */
  endTargetRun(target: TargetRunRow, lastStep: Parameters<typeof targetRunStatus>[0]): void {
    this.changeTargetRun(target, targetRunStatus(lastStep));
  }

  #endRunIfLast(entry: RunEntry): void {
    const { row } = entry;
    const counts = {
      succeeded: row.targetsSucceeded,
      failed: row.targetsFailed,
      cancelled: row.targetsCancelled,
      timedOut: row.targetsTimedOut,
      unknown: row.targetsUnknown,
    };
    const ended = Object.values(counts).reduce((sum, n) => sum + n, 0);
    if (ended < row.targetsTotal) return;
    const status = aggregateRun(counts, {
      maxFailures: row.maxFailures,
      cancelling: row.status === 'cancelling',
      halted: row.haltedAt !== null,
      timedOut: row.stopReason === 'run_timeout',
    });
    entry.ended = true;
    row.completedAt = this.now;
    this.#setRunStatus(entry, status);
  }

  #setRunStatus(entry: RunEntry, status: RunStatus): void {
    entry.row.status = status;
    entry.touched = true;
  }

  /** Opens the target runs that may start now that others have ended, or ends those that may no longer start. */
  async #followStrategy(entry: RunEntry): Promise<void> {
    const { row } = entry;
    const move = followStrategy(row);
    if (move === undefined) return;
    const { open, halt, ...batch } = move;
    const isNewBatch = batch.batchNumber !== row.batchNumber;
    if (open === 0 && halt === null && !isNewBatch) return;
    Object.assign(row, batch);
    if (isNewBatch) row.batchBeganAt = this.now;
    entry.strategyChanged = true;
    if (halt !== null) {
      row.haltedAt = this.now;
      row.haltedReason = halt.reason;
      await this.endUnbegun(row.id, { status: 'cancelled', reason: 'halted', message: halt.unbegun });
    } else if (open > 0) {
      const { opened, ready } = await openTargetRuns(this.#tx, row.id, open);
      row.targetsOpened = (row.targetsOpened ?? 0) + opened;
      for (const step of ready) {
        this.noteStep(row.id, { id: step.id, status: 'ready' });
        this.wakeSegment(step.segmentId);
      }
    }
  }

  /**
   * Ends every target run that hasn't begun, with its steps. Other target runs go on.
   *
   * @param of `running` names target runs that haven't begun either, although they count as running; `only` limits this
   * to the target runs that it names.
   */
  async endUnbegun(
    runId: number,
    end: { status: 'cancelled' | 'timed_out'; reason: string; message: string },
    of: { running?: readonly number[]; only?: readonly number[] } = {},
  ): Promise<void> {
    const targetRuns = await endableUnbegun(this.#tx, runId, end.message, of);
    await this.closeWaiting(runId, targetRuns, end);
    for (const target of targetRuns) this.changeTargetRun(target, end.status);
  }

  /**
   * Ends the steps of these target runs that are still waiting. Their events come after those for everything noted
   * before.
   */
  async closeWaiting(
    runId: number,
    targetRuns: readonly Pick<TargetRunRow, 'id'>[],
    end: { status: 'cancelled' | 'timed_out'; reason: string | null; message?: string },
  ): Promise<void> {
    const { status, reason, message = null } = end;
    const entry = this.#entry(runId);
    const { row } = entry;
    const run = row.status === 'cancelling' ? { run: { status: row.status } } : {};
    const noted = portions(entry.steps).map((steps) => ({ ...run, steps }));
    const closed = await closeAllWaiting(
      this.#tx,
      { runId, targetRunIds: targetRuns.map(({ id }) => id) },
      { status, reason, message },
      { stepsEach: maxChangesOfEvent, afterSeq: row.eventSeq + noted.length, at: this.now, change: run },
    );
    this.countStepEnds(runId, status, closed.steps);
    for (const id of closed.ids) this.noteStep(runId, { id, status, ...(reason === null ? {} : { reason }) });
    if (closed.events === 0) return;
    await insertRunEvents(this.#tx, numberedEvents(row, noted, this.now));
    row.eventSeq += closed.events;
    entry.steps = [];
    entry.touched = true;
  }

  /** Like `write`, but also commits in the same round trip: nothing may be written in this transaction afterwards. */
  writeAndCommit(): Promise<ProgressNews> {
    return this.write([() => commitWithThese(this.#tx)]);
  }

  /** Writes everything that was collected, numbers the events and sends one NOTIFY. */
  async write(last: readonly (() => Promise<void>)[] = []): Promise<ProgressNews> {
    for (const entry of this.#runs.values()) {
      if (entry.endedTargets) await this.#followStrategy(entry);
      if (entry.strategyChanged) await writeStrategy(this.#tx, entry.row);
    }
    const touched = [...this.#runs.values()].filter((entry) => entry.touched);
    const endedIds = touched.filter(({ row }) => isRunEnded(row.status)).map(({ row }) => row.id);
    for (const { jobRunId, outputState } of await worstOutputStates(this.#tx, endedIds)) {
      this.#entry(jobRunId).row.outputState = outputState;
    }
    const events = touched.flatMap((entry) =>
      numberedEvents(entry.row, changesOf(entry, this.#cancelledBy), this.now),
    );
    const cancelTargetRuns = [...this.#cancelTargetRuns];
    const endedRuns = new Map<RunStatus, number>();
    for (const { row, ended } of touched) if (ended) addTo(endedRuns, row.status, 1);
    const news: ProgressNews = {
      runs: touched.map(({ row, ended }) => ({ id: row.id, seq: row.eventSeq, ended })),
      segments: [...this.#segments],
      cancel: [...this.#cancel],
      ...(cancelTargetRuns.length > 0 ? { cancelTargetRuns } : {}),
      ...(endedRuns.size + this.#stepEnds.size > 0
        ? { ended: { runs: endedRuns, steps: this.#stepEnds } }
        : {}),
    };
    // Whoever cancels a run or a target run has touched its run.
    const hasNews = news.runs.length + news.segments.length > 0;
    // Sent together, because none of these depends on the answer to another.
    await Promise.all([
      this.#writeReopened(),
      writeTargetRuns(
        this.#tx,
        touched.flatMap((entry) => [...entry.targetRuns.values()]).map(targetRunValues),
      ),
      writeRuns(
        this.#tx,
        touched.map(({ row: { stepRules: _, ...row } }) => ({
          ...row,
          executionTimeMs: executionTimeOf(row),
        })),
      ),
      insertRunEvents(this.#tx, events),
      ...(hasNews ? [notifyProgress(this.#tx, news)] : []),
      ...last.map((send) => send()),
    ]);
    return news;
  }

  /**
   * Target runs can't change from unknown to cancelling directly. One that cleans up after a late result is written as
   * running first.
   */
  async #writeReopened(): Promise<void> {
    const cleaning = [...this.#reopened].filter(({ status }) => status === 'cancelling');
    if (cleaning.length === 0) return;
    await writeTargetRuns(
      this.#tx,
      cleaning.map((target) => ({ ...targetRunValues(target), status: 'running' as const })),
    );
  }
}

/** A target run that begins now belongs to the open batch, even if it was leased in the millisecond of its beginning. */
function afterBatchBegan({ batchBeganAt }: Pick<RunRow, 'batchBeganAt'>, at: Date): Date {
  if (batchBeganAt === null || at > batchBeganAt) return at;
  return new Date(batchBeganAt.getTime() + 1);
}

/** Counts a failure among those of the batches before the open one, if the target run began in one of them. */
function countBefore(entry: RunEntry, { startedAt }: Pick<TargetRunRow, 'startedAt'>, failures: 1 | -1) {
  const { batchFailures, batchBeganAt } = entry.row;
  if (batchFailures === null || batchBeganAt === null || startedAt === null) return;
  if (startedAt > batchBeganAt) return;
  entry.row.batchFailures = batchFailures + failures;
  entry.strategyChanged = true;
}

function targetRunValues({ id, status, firstFailure, startedAt, completedAt }: TargetRunRow) {
  return { id, status, firstFailure, startedAt, completedAt };
}

function addTo<Key>(counts: Map<Key, number>, key: Key, count: number): void {
  counts.set(key, (counts.get(key) ?? 0) + count);
}
