// The only definition of the state machines: the database's table of allowed changes is generated from it, and the
// console's words come from it.

export const stepStatuses = [
  'pending',
  'ready',
  'running',
  'held',
  'succeeded',
  'failed',
  'skipped',
  'cancelled',
  'timed_out',
  'unknown',
] as const;
export type StepStatus = (typeof stepStatuses)[number];

export const runStatuses = [
  'queued',
  'running',
  'cancelling',
  'held',
  'succeeded',
  'failed',
  'partial',
  'cancelled',
  'timed_out',
  'unknown',
] as const;
/** Status of a run or of a target run. */
export type RunStatus = (typeof runStatuses)[number];

/** How complete the stored output is, for schema descriptions. */
export const outputStateMeaning =
  '`open`: it may still grow. `complete`: everything that the agent received is stored; if the attempt ended `unknown`, the command may have printed more. `truncated`: cut at the limit. `gapped`: some of what the agent received is missing, or may be';
export const outputStates = ['open', 'complete', 'truncated', 'gapped'] as const;
export type OutputState = (typeof outputStates)[number];

const stepEdges: Record<StepStatus, readonly StepStatus[]> = {
  pending: ['ready', 'running', 'skipped', 'cancelled', 'timed_out'],
  // A leased step that its agent never began goes back to ready.
  ready: ['running', 'skipped', 'cancelled', 'timed_out'],
  // Skipped if its own condition is false, which its agent evaluates, or if it was leased ahead of its turn and the step
  // before it failed. Back to pending if it was leased ahead and its agent returns it before its turn.
  running: [
    'pending',
    'ready',
    'held',
    'succeeded',
    'failed',
    'skipped',
    'cancelled',
    'timed_out',
    'unknown',
  ],
  held: ['ready', 'succeeded', 'failed', 'skipped', 'cancelled', 'timed_out', 'unknown'],
  succeeded: [],
  failed: [],
  // A step skipped because of an unknown step waits again if a late result tells how that step ended.
  skipped: ['pending'],
  cancelled: [],
  timed_out: [],
  // A late result settles its own attempt, and also the step while the run is open.
  unknown: ['succeeded', 'failed', 'skipped', 'cancelled', 'timed_out', 'ready'],
};

const runEnds = ['succeeded', 'failed', 'partial', 'cancelled', 'timed_out', 'unknown'] as const;
const runEdges: Record<RunStatus, readonly RunStatus[]> = {
  queued: ['running', 'cancelling', 'held', ...runEnds],
  running: ['cancelling', 'held', ...runEnds],
  cancelling: [...runEnds],
  held: ['running', 'cancelling', ...runEnds],
  succeeded: [],
  failed: [],
  partial: [],
  cancelled: [],
  timed_out: [],
  unknown: [],
};

/**
 * As for a run, except that an unknown target run continues if a late result decides its step while the run is open.
 */
const targetRunEdges: Record<RunStatus, readonly RunStatus[]> = {
  ...runEdges,
  unknown: ['running', 'succeeded', 'failed', 'cancelled', 'timed_out'],
};

/** States of a job. Only active jobs run; a draft can be run as a trial by those who may edit it. */
export const jobStates = ['draft', 'active', 'inactive', 'archived'] as const;
export type JobState = (typeof jobStates)[number];
const jobEdges: Record<JobState, readonly JobState[]> = {
  draft: ['active', 'archived'],
  active: ['inactive', 'archived'],
  inactive: ['active', 'archived'],
  // A restored job becomes inactive, so that somebody looks at it before it runs.
  archived: ['inactive'],
};

export const statusEdges = {
  step: stepEdges,
  run: runEdges,
  target_run: targetRunEdges,
  job: jobEdges,
} as const;

const endedSteps: ReadonlySet<StepStatus> = new Set([
  'succeeded',
  'failed',
  'skipped',
  'cancelled',
  'timed_out',
  'unknown',
]);
const endedRuns: ReadonlySet<RunStatus> = new Set(runEnds);

/** Whether the status is final, apart from late results. */
export function isStepEnded(status: StepStatus): boolean {
  return endedSteps.has(status);
}

/** Whether an ended step counts among a run's `failedSteps`, also one whose time was over before it ran. */
export function isStepFailed(status: StepStatus): boolean {
  return status === 'failed' || status === 'timed_out';
}

/** Whether a run or target run has its outcome. */
export function isRunEnded(status: RunStatus): boolean {
  return endedRuns.has(status);
}

/** Whether an edge of the state machine leads from one status to the other. */
export function mayBecome(kind: 'step', from: StepStatus, to: StepStatus): boolean;
export function mayBecome(kind: 'run' | 'target_run', from: RunStatus, to: RunStatus): boolean;
export function mayBecome(kind: 'job', from: JobState, to: JobState): boolean;
export function mayBecome(kind: keyof typeof statusEdges, from: string, to: string): boolean {
  const edges: Record<string, readonly string[]> = statusEdges[kind];
  return edges[from]?.includes(to) ?? false;
}

/** Returns the status of a target run from the last step to have ended, which decided it. */
export function targetRunStatus(lastStep: StepStatus): RunStatus {
  switch (lastStep) {
    case 'succeeded':
    case 'failed':
    case 'cancelled':
    case 'timed_out':
    case 'unknown':
    case 'held':
      return lastStep;
    default:
      throw new Error(`no target run ends with a step that is ${lastStep}`);
  }
}

export interface TargetCounts {
  succeeded: number;
  failed: number;
  cancelled: number;
  timedOut: number;
  unknown: number;
}

/**
 * Derives a run's status once every target run has ended, by the table in docs/architecture.md: the first matching line
 * wins. Timeouts count as failures. With up to `maxFailures` failures the run is `partial`, unless a limit of failures
 * halted it. A run stopped by its own timeout is `timed_out` if nothing worse happened.
 */
export function aggregateRun(
  counts: TargetCounts,
  options: { maxFailures: number; cancelling: boolean; halted?: boolean; timedOut?: boolean },
): RunStatus {
  const failures = counts.failed + counts.timedOut;
  if (options.cancelling && counts.cancelled > 0 && counts.unknown === 0) return 'cancelled';
  if (options.timedOut === true && counts.failed === 0 && counts.unknown === 0 && failures > 0)
    return 'timed_out';
  if (failures > options.maxFailures || (options.halted === true && failures > 0)) {
    return counts.failed === 0 && counts.unknown === 0 && counts.timedOut === failures
      ? 'timed_out'
      : 'failed';
  }
  if (counts.unknown > 0) return 'unknown';
  if (failures > 0) return 'partial';
  if (counts.cancelled > 0) return 'cancelled';
  return 'succeeded';
}
