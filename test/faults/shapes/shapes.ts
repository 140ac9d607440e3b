// Aimed rounds: runs that are led through status changes that rarely occur by chance, and what is done to them for
// that, so that other faults can be in force at that moment. Pure, like the whole plan.
import {
  decidedAtOnce,
  heldAtOnce,
  heldCancelledAtOnce,
  heldTimedOutAtOnce,
  heldUntoldAtOnce,
  lateAtOnce,
  lateCancelAtOnce,
} from './at-once.ts';
import { ended, inARow, lateStart, longRun, skipped } from './brief.ts';
import { cancelled, cleaningCancelled, idleCancelled, overUntold, runTimeout } from './cancelled.ts';
import { beingHeld, held, heldAndCancelled, lateHeld } from './held.ts';
import { hostCancelled, hostHeldCancelled, hostUnknownCancelled } from './host-cancelled.ts';
import { late, lateCancel, lateTimedOut, skippedLate } from './late.ts';
import { begun, fault, type Shape } from './parts.ts';
import { heldUntold, untold } from './untold.ts';

/** Commands that continue while their agent is gone permanently, as far as the others can know. */
function takenOver(): Shape {
  return {
    timesEach: 1,
    edges: [],
    runs: [longRun(0), longRun(3), longRun(0)],
    helpers: [fault('agent-gone', begun(6), 14_000, 0)],
    moment: begun(6, 6_000),
  };
}

const shapes = {
  'held-at-once': heldAtOnce,
  'held-untold-at-once': heldUntoldAtOnce,
  'decided-at-once': decidedAtOnce,
  'held-cancelled-at-once': heldCancelledAtOnce,
  'held-timed-out-at-once': heldTimedOutAtOnce,
  'late-at-once': lateAtOnce,
  'late-cancel-at-once': lateCancelAtOnce,
  untold,
  'held-untold': heldUntold,
  ended,
  'late-start': lateStart,
  skipped,
  'in-a-row': inARow,
  cancelled,
  'idle-cancelled': idleCancelled,
  'cleaning-cancelled': cleaningCancelled,
  'over-untold': overUntold,
  'run-timeout': runTimeout,
  'host-cancelled': hostCancelled,
  'host-unknown-cancelled': hostUnknownCancelled,
  'host-held-cancelled': hostHeldCancelled,
  held,
  'being-held': beingHeld,
  'held-cancelled': heldAndCancelled,
  'late-held': lateHeld,
  late,
  'late-timed-out': lateTimedOut,
  'late-cancel': lateCancel,
  'skipped-late': skippedLate,
  'taken-over': takenOver,
} as const satisfies Record<string, () => Shape>;
export type ShapeName = keyof typeof shapes;
export const shapeNames = Object.keys(shapes) as ShapeName[];

export function shapeOf(name: ShapeName): Shape {
  return shapes[name]();
}
