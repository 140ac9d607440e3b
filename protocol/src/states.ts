// The state machine, and the only one: the database's edge table is generated from it and the console words come
// from it. Pure.

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
/** Status of a run and of a target run. */
export type RunStatus = (typeof runStatuses)[number];

/** How complete stored output is, for descriptions. */
export const outputStateMeaning =
  '`open`: it may still grow. `complete`: all that the agent heard is here; of an attempt that ended `unknown` the command may have printed more. `truncated`: cut at its limit. `gapped`: some of what the agent heard is missing, or may be';
export const outputStates = ['open', 'complete', 'truncated', 'gapped'] as const;
export type OutputState = (typeof outputStates)[number];

const stepEdges: Record<StepStatus, readonly StepStatus[]> = {
  pending: ['ready', 'running', 'skipped', 'cancelled', 'timed_out'],
  // A leased step that its agent never began goes back to ready.
  ready: ['running', 'skipped', 'cancelled', 'timed_out'],
  // Skipped where its own condition is false, which its agent finds.
  running: ['ready', 'held', 'succeeded', 'failed', 'skipped', 'cancelled', 'timed_out', 'unknown'],
  held: ['ready', 'succeeded', 'failed', 'skipped', 'cancelled', 'timed_out', 'unknown'],
  succeeded: [],
  failed: [],
  // What was skipped behind an unknown step waits for its turn again when a late result tells how that ended.
  skipped: ['pending'],
  cancelled: [],
  timed_out: [],
  // A late result settles its own attempt, and the step while the run is open.
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

/** As a run's; and one that is unknown goes on when a late result decides its step while the run is open. */
const targetRunEdges: Record<RunStatus, readonly RunStatus[]> = {
  ...runEdges,
  unknown: ['running', 'succeeded', 'failed', 'cancelled', 'timed_out'],
};

/** A job's life. Only active jobs run; a draft runs for trial, by those who may edit it. */
export const jobStates = ['draft', 'active', 'inactive', 'archived'] as const;
export type JobState = (typeof jobStates)[number];
const jobEdges: Record<JobState, readonly JobState[]> = {
  draft: ['active', 'archived'],
  active: ['inactive', 'archived'],
  inactive: ['active', 'archived'],
  // What was put away comes back to be looked at before it runs.
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

/** True when no further step status follows but by a late result. */
export function isStepEnded(status: StepStatus): boolean {
  return endedSteps.has(status);
}

/** True when a run or target run has its outcome. */
export function isRunEnded(status: RunStatus): boolean {
  return endedRuns.has(status);
}

export function mayBecome(kind: 'step', from: StepStatus, to: StepStatus): boolean;
export function mayBecome(kind: 'run' | 'target_run', from: RunStatus, to: RunStatus): boolean;
export function mayBecome(kind: 'job', from: JobState, to: JobState): boolean;
export function mayBecome(kind: keyof typeof statusEdges, from: string, to: string): boolean {
  const edges: Record<string, readonly string[]> = statusEdges[kind];
  return edges[from]?.includes(to) ?? false;
}

/** What a target run is when its last step has ended: the outcome of the step that ended it. */
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
 * The aggregation table (docs/architecture.md): first line that fits, once every target run has ended.
 * Failures include timeouts. `maxFailures` are tolerated: up to it a run with failures is `partial`, unless a limit of
 * failures has halted it. A run that was stopped at its own timeout says so where nothing worse happened.
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
