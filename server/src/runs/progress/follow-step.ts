// What follows in a target run when one of its steps has ended, by `when_status` of those after it. Pure.
import type { RunStatus, StepStatus, WhenStatus } from '@opsconductor/protocol';

/** How a step can end that another may follow. */
export type StepEnd = Extract<StepStatus, 'succeeded' | 'failed' | 'timed_out' | 'cancelled' | 'unknown'>;

export interface LaterStep {
  id: number;
  when: WhenStatus;
}

export interface Course<S extends LaterStep> {
  /** Runs now. */
  next: S | undefined;
  /** Whether it cleans up: it follows a failure, so the cancel of its run doesn't stop it. */
  isCleanUp: boolean;
  /** Never run any more. */
  closed: { step: S; status: 'skipped' | 'cancelled'; reason: 'predecessor' | 'when_status' | null }[];
  /** The outcome that the target run will have, where it is settled; null while all went well. */
  firstFailure: StepEnd | null;
  /** What the target run ends with, where nothing follows. */
  end: RunStatus | undefined;
}

/**
 * @param later the steps after the one that ended that still wait, in order.
 * @param firstFailure how the step ended that failed first, where one had before.
 */
export function followStep<S extends LaterStep>(
  ended: StepEnd,
  {
    later,
    firstFailure,
    cancelling,
  }: { later: readonly S[]; firstFailure: StepEnd | null; cancelling: boolean },
): Course<S> {
  if (ended === 'succeeded' && firstFailure === null) {
    const next = later.find((step) => step.when !== 'failure');
    if (next === undefined)
      return finish('succeeded', null, later, { status: 'skipped', reason: 'when_status' });
    if (!cancelling) {
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
    return cleanUp('cancelled', later, cancelling);
  }
  const first = firstFailure ?? ended;
  // The step may still be going on: nothing is done beside it.
  if (ended === 'unknown') return finish(first, first, later, closing(cancelling));
  return cleanUp(first, later, cancelling);
}

/** What follows in a target run that has begun and is told to stop while it waits. */
export function cleanUp<S extends LaterStep>(
  first: StepEnd,
  later: readonly S[],
  cancelling: boolean,
): Course<S> {
  const how = closing(cancelling);
  const next = later.find((step) => step.when !== 'success');
  if (next === undefined) return finish(first, first, later, how);
  const closed = later.slice(0, later.indexOf(next)).map((step) => ({ step, ...how }));
  return { next, isCleanUp: true, closed, firstFailure: first, end: undefined };
}

/** What a target run that cleans up ends with, where nobody takes the step that is to do it: nothing is waited for any more. */
export function giveUpCleanUp<S extends LaterStep>(
  first: StepEnd,
  later: readonly S[],
  cancelling: boolean,
): Course<S> {
  return finish(first, first, later, closing(cancelling));
}

type Closing = Pick<Course<LaterStep>['closed'][number], 'status' | 'reason'>;

function closing(cancelling: boolean): Closing {
  return cancelling ? { status: 'cancelled', reason: null } : { status: 'skipped', reason: 'predecessor' };
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
