// How far a run has come, in numbers that its row keeps up to date.
export interface RunCounts {
  targetsTotal: number;
  targetsRunning: number;
  targetsHeld: number;
  targetsSucceeded: number;
  targetsFailed: number;
  targetsCancelled: number;
  targetsTimedOut: number;
  targetsUnknown: number;
  totalSteps: number;
  completedSteps: number;
  failedSteps: number;
  lateResults: number;
}

/** Returns how many target runs are how far, as the API tells it. */
export function targetCounts(counts: RunCounts) {
  return {
    targetsQueued: targetsQueued(counts),
    targetsRunning: counts.targetsRunning,
    targetsHeld: counts.targetsHeld,
    targetsSucceeded: counts.targetsSucceeded,
    targetsFailed: counts.targetsFailed,
    targetsCancelled: counts.targetsCancelled,
    targetsTimedOut: counts.targetsTimedOut,
    targetsUnknown: counts.targetsUnknown,
  };
}

/** Returns how many target runs have not begun: those that are counted in no other way. */
function targetsQueued(counts: RunCounts): number {
  return (
    counts.targetsTotal -
    counts.targetsRunning -
    counts.targetsHeld -
    counts.targetsSucceeded -
    counts.targetsFailed -
    counts.targetsCancelled -
    counts.targetsTimedOut -
    counts.targetsUnknown
  );
}
