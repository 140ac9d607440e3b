// Makes the events of a run from what a transaction changed in it.
import type { RunChange, Step } from '@opsconductor/protocol';
import type { RunRow, TargetRunRow } from '../../store/runs/progress/progress-rows.ts';
import { targetCounts } from '../../store/runs/run-counts.ts';

/** Steps and target runs in one event, at most. */
export const maxChangesOfEvent = 1_000;

type Change = Omit<RunChange, 'at' | 'seq'>;
export type StepChange = { id: number } & Partial<Omit<Step, 'id'>>;

/** What a transaction changed in one run. */
export interface ChangedRun {
  row: RunRow;
  steps: StepChange[];
  targetRuns: ReadonlyMap<number, TargetRunRow>;
}

/** Returns the time from the first step's start to the end, in ms; null if the run ended without starting a step. */
export function executionTimeOf({
  startedAt,
  completedAt,
}: Pick<RunRow, 'startedAt' | 'completedAt'>): number | null {
  if (startedAt === null || completedAt === null) return null;
  return Math.max(0, completedAt.getTime() - startedAt.getTime());
}

/** Makes events of the changes, numbered after the run's last event, and counts them on its row. */
export function numberedEvents(row: RunRow, changes: readonly Change[], at: Date) {
  return changes.map((change) => {
    row.eventSeq += 1;
    return { jobRunId: row.id, seq: row.eventSeq, at, change };
  });
}

/**
 * Returns the changes as one event, or as several if there are many, because each reader holds a whole event in memory.
 * The last event says what became of the run. A cancel is said in every event, starting with the first, because for a
 * reader who sees only a part of the run, that part may end in an earlier event.
 */
export function changesOf(changed: ChangedRun, cancelledBy: ReadonlyMap<number, string>): Change[] {
  const whole = changeOf(changed, cancelledBy);
  const { run, targetRuns = [], steps = [] } = whole;
  if (targetRuns.length + steps.length <= maxChangesOfEvent) return [whole];
  const isCancelled = run.status === 'cancelling' || run.status === 'cancelled';
  const before = isCancelled ? { run: { status: 'cancelling' as const } } : {};
  const changes: Change[] = [
    ...portions(steps).map((portion) => ({ ...before, steps: portion })),
    ...portions(targetRuns).map((portion) => ({ ...before, targetRuns: portion })),
  ];
  const last = changes.pop();
  return [...changes, { ...last, run }];
}

/** Returns the items in portions that each fit into one event. */
export function portions<T>(all: readonly T[]): T[][] {
  const count = Math.ceil(all.length / maxChangesOfEvent);
  return Array.from({ length: count }, (_, n) =>
    all.slice(n * maxChangesOfEvent, (n + 1) * maxChangesOfEvent),
  );
}

function changeOf(
  { row, targetRuns, steps }: ChangedRun,
  cancelledBy: ReadonlyMap<number, string>,
): Change & Required<Pick<Change, 'run'>> {
  return {
    run: {
      status: row.status,
      outputState: row.outputState,
      ...targetCounts(row),
      completedSteps: row.completedSteps,
      failedSteps: row.failedSteps,
      lateResults: row.lateResults,
      startedAt: row.startedAt?.toISOString() ?? null,
      completedAt: row.completedAt?.toISOString() ?? null,
      executionTimeMs: executionTimeOf(row),
      errorMessage: row.errorMessage,
    },
    ...(targetRuns.size > 0
      ? {
          targetRuns: [...targetRuns.values()].map((target) => ({
            id: target.id,
            status: target.status,
            startedAt: target.startedAt?.toISOString() ?? null,
            completedAt: target.completedAt?.toISOString() ?? null,
            ...cancelOf(target, cancelledBy.get(target.id)),
          })),
        }
      : {}),
    ...(steps.length > 0 ? { steps } : {}),
  };
}

/** Who cancelled the target run, in the event of the cancel alone, since it doesn't change after that. */
function cancelOf({ cancelRequestedAt }: TargetRunRow, by: string | undefined) {
  if (by === undefined || cancelRequestedAt === null) return {};
  return { cancelRequestedAt: cancelRequestedAt.toISOString(), cancelRequestedBy: by };
}
