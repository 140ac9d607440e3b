// Decides what follows in a target run when one of its steps has ended, by the `when_status` of the later steps. Pure.
import type { RunStatus, StepStatus, WhenStatus } from '@opsconductor/protocol';
import { reasonsOfWaiting } from '../../store/runs/progress/progress-writes.ts';

/** The ways in which a step can end and be followed by another step. */
export type StepEnd = Extract<StepStatus, 'succeeded' | 'failed' | 'timed_out' | 'cancelled' | 'unknown'>;

/** How steps that wait end in a run or target run that is being stopped. */
export type Stopped = 'cancelled' | 'timed_out';

export interface LaterStep {
  id: number;
  when: WhenStatus;
}

export interface Course<S extends LaterStep> {
  /** The step to run now. */
  next: S | undefined;
  /** Whether `next` cleans up: it follows a failure, so cancelling the run doesn't stop it. */
  isCleanUp: boolean;
  /** Steps that will never run. */
  closed: {
    step: S;
    status: 'skipped' | Stopped;
    reason: 'when_status' | (typeof reasonsOfWaiting)['skipped' | Stopped];
  }[];
  /** The outcome that the target run will have, if that is decided; `null` while everything has gone well. */
  firstFailure: StepEnd | null;
  /** The status that the target run ends with, if nothing follows. */
  end: RunStatus | undefined;
}

/**
 * @param later steps after the one that ended which are still waiting, in order.
 * @param firstFailure how the first step that failed ended, if one failed before this one.
 * @param stopped if the run or target run is being stopped.
 */
export function followStep<S extends LaterStep>(
  ended: StepEnd,
  {
    later,
    firstFailure,
    stopped,
  }: { later: readonly S[]; firstFailure: StepEnd | null; stopped: Stopped | null },
): Course<S> {
  if (ended === 'succeeded' && firstFailure === null) {
    const next = later.find((step) => step.when !== 'failure');
    if (next === undefined)
      return finish('succeeded', null, later, { status: 'skipped', reason: 'when_status' });
    if (stopped === null) {
      return {
        next,
        isCleanUp: false,
        closed: later
          .slice(0, later.indexOf(next))
          .map((step) => ({ step, status: 'skipped', reason: 'when_status' })),
        firstFailure: null,
        end: undefined,
      };
    }
    return cleanUp(stopped, later, stopped);
  }
  const first = firstFailure ?? ended;
  // The step may still be going on, and nothing may run at the same time.
  if (ended === 'unknown') return finish(first, first, later, closing(stopped));
  return cleanUp(first, later, stopped);
}

/** Returns what follows in a target run after a failure, or if it has begun and is stopped while it waits. */
export function cleanUp<S extends LaterStep>(
  first: StepEnd,
  later: readonly S[],
  stopped: Stopped | null,
): Course<S> {
  const how = closing(stopped);
  const next = later.find((step) => step.when !== 'success');
  if (next === undefined) return finish(first, first, later, how);
  const closed = later.slice(0, later.indexOf(next)).map((step) => ({ step, ...how }));
  return { next, isCleanUp: true, closed, firstFailure: first, end: undefined };
}

/** Returns the end of a target run whose clean-up step no agent took: no later step is waited for. */
export function giveUpCleanUp<S extends LaterStep>(
  first: StepEnd,
  later: readonly S[],
  stopped: Stopped | null,
): Course<S> {
  return finish(first, first, later, closing(stopped));
}

type Closing = Pick<Course<LaterStep>['closed'][number], 'status' | 'reason'>;

function closing(stopped: Stopped | null): Closing {
  const status = stopped ?? 'skipped';
  return { status, reason: reasonsOfWaiting[status] };
}

function finish<S extends LaterStep>(
  end: RunStatus,
  firstFailure: StepEnd | null,
  later: readonly S[],
  how: Closing,
): Course<S> {
  const closed = later.map((step) => ({ step, ...how }));
  return { next: undefined, isCleanUp: false, closed, firstFailure, end };
}
