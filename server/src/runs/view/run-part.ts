// The part of a run that a reader sees. Its status, counters and times are those that the run would have if its other
// target runs didn't exist, so that none of them reveals anything about the rest. Pure.
import { createHash } from 'node:crypto';
import {
  aggregateRun,
  isRunEnded,
  isStepEnded,
  isStepFailed,
  type OutputState,
  type Run,
  type RunChange,
  type RunStatus,
  runStatuses,
  type StepStatus,
} from '@opsconductor/protocol';
import { executionTimeOf } from '../progress/run-changes.ts';

export interface PartFigures {
  /** Target runs by status. */
  targets: Readonly<Record<RunStatus, number>>;
  totalSteps: number;
  completedSteps: number;
  failedSteps: number;
  gappedSteps: number;
  truncatedSteps: number;
  startedAt: Date | null;
  /** End of the target run that ended last. */
  completedAt: Date | null;
}

/** Facts about the whole run that reveal nothing about the other target runs. */
export interface RunTerms {
  maxFailures: number;
  cancelRequested: boolean;
}

export type PartView = Pick<
  Run,
  | 'status'
  | 'outputState'
  | 'targetsTotal'
  | 'targetsRunning'
  | 'targetsSucceeded'
  | 'targetsFailed'
  | 'targetsCancelled'
  | 'targetsTimedOut'
  | 'targetsUnknown'
  | 'totalSteps'
  | 'completedSteps'
  | 'failedSteps'
  | 'executionTimeMs'
> & {
  targetsHeld: number;
  lateResults: 0;
  startedAt: Date | null;
  completedAt: Date | null;
  errorMessage: null;
};

/** Returns the status of a run that has exactly these target runs. */
export function partStatus(targets: PartFigures['targets'], terms: RunTerms): RunStatus {
  const open = targets.queued + targets.running + targets.cancelling + targets.held;
  if (open === 0) {
    const { succeeded, failed, partial, cancelled, timed_out: timedOut, unknown } = targets;
    const counts = { succeeded, failed: failed + partial, cancelled, timedOut, unknown };
    return aggregateRun(counts, { maxFailures: terms.maxFailures, cancelling: terms.cancelRequested });
  }
  if (terms.cancelRequested) return 'cancelling';
  if (targets.held > 0 && targets.running + targets.cancelling === 0) return 'held';
  return targets.queued === totalOf(targets) ? 'queued' : 'running';
}

/**
 * Returns the fields of a run that its target runs decide. The run's error message is left out, as it may be about
 * other target runs.
 */
export function partView(figures: PartFigures, terms: RunTerms): PartView {
  const { targets } = figures;
  const status = partStatus(targets, terms);
  const completedAt = isRunEnded(status) ? figures.completedAt : null;
  return {
    status,
    outputState: completedAt === null ? 'open' : worstOutput(figures),
    targetsTotal: totalOf(targets),
    targetsRunning: targets.running + targets.cancelling,
    targetsHeld: targets.held,
    targetsSucceeded: targets.succeeded,
    targetsFailed: targets.failed + targets.partial,
    targetsCancelled: targets.cancelled,
    targetsTimedOut: targets.timed_out,
    targetsUnknown: targets.unknown,
    totalSteps: figures.totalSteps,
    completedSteps: figures.completedSteps,
    failedSteps: figures.failedSteps,
    // Late results may all belong to other target runs.
    lateResults: 0,
    startedAt: figures.startedAt,
    completedAt,
    executionTimeMs: executionTimeOf({ startedAt: figures.startedAt, completedAt }),
    errorMessage: null,
  };
}

/**
 * Returns the statuses of which at least one target run must have one if a part is in the given status. A query can
 * leave out all other runs before parts are computed.
 */
export function targetStatusesOf(status: RunStatus): readonly RunStatus[] {
  switch (status) {
    case 'running':
    case 'cancelling':
      return ['queued', 'running', 'cancelling', 'held'];
    case 'failed':
    case 'partial':
      return ['failed', 'partial', 'timed_out'];
    default:
      return [status];
  }
}

/** Returns the tag of a part, from the digest of the ids of its target runs. */
export function partTagOf(digest: string): string {
  return digest.slice(0, 8);
}

/** Follows a part through the run's events, starting with the first one. */
export class RunPart {
  /** Identifies this set of target runs. Event numbers are valid only for the same set. */
  readonly tag: string;
  readonly #targets: Map<number, { status: RunStatus; completedAt: number }>;
  readonly #steps: Map<number, { status: StepStatus; output: OutputState }>;
  readonly #counts = noTargets();
  readonly #terms: RunTerms;
  #isCancelled = false;
  #completedSteps = 0;
  #failedSteps = 0;
  #startedAt: Date | null = null;

  constructor(
    targetRuns: readonly { id: number; stepIds: readonly number[] }[],
    terms: Pick<RunTerms, 'maxFailures'>,
  ) {
    const ids = targetRuns.map(({ id }) => id).sort((a, b) => a - b);
    this.tag = partTagOf(createHash('sha256').update(ids.join()).digest('hex'));
    this.#targets = new Map(ids.map((id) => [id, { status: 'queued', completedAt: 0 }]));
    this.#steps = new Map(
      targetRuns.flatMap(({ stepIds }) =>
        stepIds.map((id) => [id, { status: 'pending', output: 'complete' }] as const),
      ),
    );
    this.#counts.queued = ids.length;
    this.#terms = { ...terms, cancelRequested: false };
  }

  hasStep(id: number): boolean {
    return this.#steps.has(id);
  }

  get stepIds(): number[] {
    return [...this.#steps.keys()];
  }

  get isEnded(): boolean {
    return isRunEnded(partStatus(this.#counts, this.#terms));
  }

  /**
   * Returns what a change of the run is for the reader, or `undefined` if it concerns only others. Call it for every
   * change, in order.
   */
  see(change: Omit<RunChange, 'seq' | 'at'>): Omit<RunChange, 'seq' | 'at'> | undefined {
    if (change.run?.status === 'cancelling' || change.run?.status === 'cancelled') this.#isCancelled = true;
    // Once the part has ended, a cancel of the rest changes nothing in it.
    this.#terms.cancelRequested ||= this.#isCancelled && !this.isEnded;
    const targetRuns = change.targetRuns?.filter(({ id }) => this.#targets.has(id)) ?? [];
    const steps = change.steps?.filter(({ id }) => this.#steps.has(id)) ?? [];
    if (targetRuns.length + steps.length === 0) return undefined;
    for (const targetRun of targetRuns) this.#moveTarget(targetRun);
    // A late result may have opened it again.
    this.#terms.cancelRequested ||= this.#isCancelled && !this.isEnded;
    for (const step of steps) this.#moveStep(step);
    return {
      run: this.#view(),
      ...(targetRuns.length > 0 ? { targetRuns } : {}),
      ...(steps.length > 0 ? { steps } : {}),
    };
  }

  #moveTarget(change: NonNullable<RunChange['targetRuns']>[number]): void {
    const target = this.#targets.get(change.id);
    if (target === undefined) return;
    this.#counts[target.status] -= 1;
    this.#counts[change.status] += 1;
    target.status = change.status;
    if (change.completedAt !== null) target.completedAt = Date.parse(change.completedAt);
    if (change.startedAt === null) return;
    const startedAt = new Date(change.startedAt);
    if (this.#startedAt === null || startedAt < this.#startedAt) this.#startedAt = startedAt;
  }

  #moveStep(change: NonNullable<RunChange['steps']>[number]): void {
    const step = this.#steps.get(change.id);
    if (step === undefined) return;
    this.#countStep(step.status, -1);
    step.status = change.status ?? step.status;
    step.output = change.outputState ?? step.output;
    this.#countStep(step.status, 1);
  }

  #countStep(status: StepStatus, by: 1 | -1): void {
    if (isStepEnded(status)) this.#completedSteps += by;
    if (isStepFailed(status)) this.#failedSteps += by;
  }

  #view(): NonNullable<RunChange['run']> {
    const ended = this.isEnded;
    const outputs = ended ? [...this.#steps.values()].map(({ output }) => output) : [];
    const completedAt = ended
      ? Math.max(...[...this.#targets.values()].map((target) => target.completedAt))
      : undefined;
    const view = partView(
      {
        targets: this.#counts,
        totalSteps: this.#steps.size,
        completedSteps: this.#completedSteps,
        failedSteps: this.#failedSteps,
        gappedSteps: outputs.filter((output) => output === 'gapped').length,
        truncatedSteps: outputs.filter((output) => output === 'truncated').length,
        startedAt: this.#startedAt,
        completedAt: completedAt === undefined ? null : new Date(completedAt),
      },
      this.#terms,
    );
    // As in the events of the whole run, totals aren't repeated because they don't change.
    const { targetsTotal: _targets, totalSteps: _steps, ...told } = view;
    return {
      ...told,
      targetsQueued: this.#counts.queued,
      startedAt: view.startedAt?.toISOString() ?? null,
      completedAt: view.completedAt?.toISOString() ?? null,
    };
  }
}

function noTargets(): Record<RunStatus, number> {
  return Object.fromEntries(runStatuses.map((status) => [status, 0])) as Record<RunStatus, number>;
}

function totalOf(targets: PartFigures['targets']): number {
  return runStatuses.reduce((sum, status) => sum + targets[status], 0);
}

function worstOutput(figures: PartFigures): OutputState {
  if (figures.gappedSteps > 0) return 'gapped';
  return figures.truncatedSteps > 0 ? 'truncated' : 'complete';
}
