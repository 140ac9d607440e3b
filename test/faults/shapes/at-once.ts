// Shapes in which everything happens at once, just when the fault begins. They are for faults that coincide with
// changes only in their first moments: a restored database keeps nothing of what happened between its backup and its
// end, and whatever was open in the backup ends immediately.
import type { FaultKind, Moment, PlannedRun } from '../plan-round.ts';
import {
  after,
  begun,
  ends,
  fault,
  found,
  frozen,
  gated,
  hold,
  most,
  oneByOne,
  run,
  type Shape,
  step,
  unheard,
} from './parts.ts';

const aimedAt: readonly FaultKind[] = ['database-restored'];
/** The first ends reported after that; others are reported right after them. */
const firstEnds = (behind: Moment): Moment => ({
  at: 'frame',
  type: 'complete',
  direction: 'up',
  nth: 3,
  when: 'after',
  behind,
});
/** Almost as many commands as agents run at a time. */
const count = 44;
const allBegun = begun(most(count), 500);

/** The n-th of several actions by people at once, some before the fault and some in its first moments. */
const around = (moment: Moment, n: number): Moment => after(moment, 6 * n - 100);

/** Connections to the targets are cut: everything that was running becomes held. */
export function heldAtOnce(): Shape {
  return {
    only: [...aimedAt, 'server-stopped'],
    edges: [
      'step running>held',
      ...ends('target_run', 'running', ['held']),
      ...ends('run', 'running', ['held']),
    ],
    ...cutOff({}),
  };
}

/** The same for runs that were never recorded as running. */
export function heldUntoldAtOnce(): Shape {
  return {
    only: aimedAt,
    edges: [...ends('target_run', 'queued', ['held']), ...ends('run', 'queued', ['held'])],
    ...cutOff({ isUnnoted: true }),
  };
}

function cutOff(fields: Partial<PlannedRun>): Omit<Shape, 'only' | 'edges'> {
  return {
    timesEach: 8,
    runs: Array.from({ length: count }, () =>
      run([gated({ rules: hold }), step()], { targets: 1, ...fields }),
    ),
    helpers: [fault('target-cut', allBegun, 0, 0)],
    moment: after(firstEnds(allBegun), 250),
  };
}

/** People decide everything that is held. */
export function decidedAtOnce(): Shape {
  const isHeld = found(most(count), 'run', 'held', 700);
  return {
    only: aimedAt,
    timesEach: 8,
    edges: [
      ...['ready', 'cancelled'].map((to) => `step held>${to}`),
      ...ends('run', 'held', ['running', 'cancelled']),
      ...ends('target_run', 'held', ['running', 'cancelled']),
    ],
    runs: Array.from({ length: count }, (_, n) =>
      run([gated({ rules: hold }), step()], {
        targets: 1,
        decision: n % 2 === 0 ? 'cancel' : 'retry',
        decideAt: around(isHeld, n),
      }),
    ),
    helpers: [fault('target-cut', allBegun, 0, 0)],
    moment: isHeld,
  };
}

/** People cancel all runs that are held while their steps on other hosts were never recorded. */
export function heldCancelledAtOnce(): Shape {
  const runs = 15;
  const targets = 3;
  const isHeld = found(7, 'run', 'held', 700);
  return {
    only: aimedAt,
    timesEach: 5,
    edges: ['run held>cancelling'],
    runs: Array.from({ length: runs }, (_, n) =>
      run([gated({ rules: hold }), step()], {
        targets,
        isUnnoted: true,
        cancel: around(isHeld, 2 * n),
      }),
    ),
    helpers: [fault('agent-killed', begun(most(targets * runs), 500), 50, 0)],
    moment: isHeld,
  };
}

/**
 * Held steps end when their time is over: by then agents are heard again, and what began in sequence ends in sequence.
 */
export function heldTimedOutAtOnce(): Shape {
  const isHeld = found(most(count), 'run', 'held', 200);
  return {
    only: aimedAt,
    timesEach: 8,
    edges: [
      'step held>timed_out',
      ...ends('target_run', 'held', ['timed_out']),
      ...ends('run', 'held', ['timed_out']),
    ],
    runs: Array.from({ length: count }, () =>
      run([step({ sleepS: 60, timeout: 14, rules: hold }), step()], { targets: 1 }),
    ),
    helpers: unheard(allBegun, isHeld),
    moment: after(firstEnds(isHeld), 1_000),
  };
}

/** Unknown attempts end once their agents are heard again, twenty per second. */
export function lateAtOnce(): Shape {
  const again = { retry: { attempts: 2, delay: 0 } };
  const kindOf = (n: number) => {
    const inTurn = { sleepS: n / 20 };
    if (n % 3 === 0) return [gated({ ...inTurn, exitCode: 3 })];
    if (n % 3 === 1) return [gated({ ...inTurn, exitCode: 3, rules: again })];
    return [gated(inTurn), step({ sleepS: 20 })];
  };
  const isUnknown = found(most(count), 'target_run', 'unknown', 200);
  return {
    only: aimedAt,
    timesEach: 4,
    edges: [
      ...['failed', 'ready', 'succeeded'].map((to) => `step unknown>${to}`),
      'step skipped>pending',
      ...ends('target_run', 'unknown', ['failed', 'running']),
    ],
    runs: Array.from({ length: count }, (_, n) => run(kindOf(n), { targets: 2, job: oneByOne })),
    helpers: unheard(allBegun, isUnknown),
    moment: after(firstEnds(isUnknown), 700),
    gate: after(isUnknown, 2_000),
  };
}

/**
 * Unknown attempts in a run that is being cancelled are stopped when their agents continue; a clean-up waiting for its
 * next try keeps the run open.
 */
export function lateCancelAtOnce(): Shape {
  const runs = 20;
  const here = 'target.name == "host-1" || target.name == "host-2"';
  const steps = [
    step({ sleepS: 60, rules: { when: here } }),
    step({ exitCode: 3 }),
    step({ exitCode: 3, rules: { when_status: 'always', retry: { attempts: 2, delay: 20 } } }),
  ];
  // They fail on the third host, and the first step goes on on the others.
  const isReady = found(most(2 * runs), 'attempt', 'failed', 500);
  const isUnknown = found(most(2 * runs), 'target_run', 'unknown', 300);
  return {
    only: aimedAt,
    timesEach: 8,
    edges: ['step unknown>cancelled', ...ends('target_run', 'unknown', ['cancelled'])],
    runs: Array.from({ length: runs }, (_, n) =>
      run(steps, { targets: 3, cancel: after(isReady, 200 + 30 * n) }),
    ),
    helpers: frozen(isReady, isUnknown),
    moment: firstEnds(isUnknown),
  };
}
