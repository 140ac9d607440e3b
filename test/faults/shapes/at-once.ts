// Shapes in which everything comes about at once, and the fault begins just then. For what meets changes only in its first
// moments: of a database that is restored nothing is kept that came about between its backup and its end, and what was
// open in the backup ends there and then.
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
/** The first ends that are told after that: others are told right behind them. */
const firstEnds = (behind: Moment): Moment => ({
  ...{ at: 'frame', type: 'complete', direction: 'up', nth: 3, when: 'after' },
  behind,
});
/** As many commands as agents take at a time, nearly. */
const count = 44;
const allBegun = begun(most(count), 500);

/** The n-th of what persons do at once, some of it before the fault and some of it in its first moments. */
const around = (moment: Moment, n: number): Moment => after(moment, 6 * n - 100);

/** Connections to the targets are cut: all that ran comes to be held. */
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

/** The same of runs of which it was never noted that they run. */
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

/** Persons decide of all that is held. */
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

/** Persons cancel all runs that are held while what they do on other hosts was never noted. */
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

/** What is held ends as its time is over: agents are heard again by then, and what had begun one after the other ends so. */
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

/** What is unknown ends once its agents are heard again, twenty in a second. */
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

/** What is unknown in a run that is being cancelled is stopped as its agents go on: the run is open for a clean-up that waits for its next try. */
export function lateCancelAtOnce(): Shape {
  const runs = 20;
  const here = 'target.name == "host-1" || target.name == "host-2"';
  const steps = [
    step({ sleepS: 60, rules: { when: here } }),
    step({ exitCode: 3 }),
    step({ exitCode: 3, rules: { when_status: 'always', retry: { attempts: 2, delay: 20 } } }),
  ];
  // On the third host they fail, and the first goes on on the others.
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
