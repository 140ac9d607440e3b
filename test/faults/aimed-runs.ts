// Rounds that aim: runs that are led through changes of status which come about seldom by chance, and what is done to
// them for it, so that other faults can be in force just then. Pure, as the whole plan.
import { heldUntold, late, lateCancel, lateHeld, skippedLate } from './aimed-late-runs.ts';
import {
  begun,
  cleanUp,
  ends,
  failing,
  fault,
  hold,
  never,
  onAll,
  run,
  type Shape,
  step,
  times,
  toldLate,
  tolerant,
} from './aimed-parts.ts';
import type { PlannedRun, PlannedStep } from './plan-round.ts';

/** Runs that are over before anything has been told of them but their end. */
function quick(): Shape {
  const short: PlannedStep[] = [...Array(8).fill(step()), ...Array(6).fill(failing)];
  return {
    edges: [
      ...ends('run', 'queued', ['succeeded', 'failed']),
      ...ends('target_run', 'queued', ['succeeded', 'failed']),
      'run running>failed',
      ...ends('run', 'queued', ['partial']),
      ...ends('run', 'running', ['partial']),
    ],
    runs: [
      ...[...short, ...short].map((one, n) => run([one], { targets: 1 + (n % 2), startMs: 100 * n })),
      ...Array.from({ length: 20 }, (_, n) =>
        run([failing], { targets: 1 + Math.floor(n / 15), startMs: 130 * n, job: tolerant }),
      ),
    ],
    helpers: [],
    moment: begun(1),
  };
}

/** Agents are restarted while they run what a person is to decide of, who does so at once. */
function held(): Shape {
  const decisions = ['succeeded', 'failed', 'retry', 'cancel'] as const;
  const long = step({ sleepS: 8, rules: hold });
  return {
    edges: [
      'step running>held',
      ...['ready', 'succeeded', 'failed', 'cancelled'].map((to) => `step held>${to}`),
      'target_run running>held',
      'target_run queued>held',
      ...ends('target_run', 'held', ['running', 'succeeded', 'failed', 'cancelled']),
      'run running>held',
      'run queued>held',
      ...ends('run', 'held', ['running', 'succeeded', 'failed', 'cancelled', 'partial']),
    ],
    runs: times(8, [
      ...decisions.map((decision) => run([long], { decision, targets: 1, decideAt: begun(36, 5_000) })),
      run([long, step()], { decideAt: begun(36, 5_000), targets: 1 }),
      run([long], { decision: 'failed', targets: 1, decideAt: begun(36, 5_000), job: tolerant }),
    ]),
    helpers: [...toldLate(6_000), ...onAll('agent-killed', begun(36), 50)],
    moment: begun(36, 900),
  };
}

/** What is held while its run is cancelled, with force and without. */
function heldAndCancelled(): Shape {
  const long = step({ sleepS: 8, rules: hold });
  return {
    edges: [
      'step held>unknown',
      'step running>held',
      'run held>cancelling',
      ...ends('run', 'held', ['unknown']),
      ...ends('run', 'cancelling', ['unknown']),
      ...ends('target_run', 'held', ['unknown']),
      'step ready>cancelled',
    ],
    runs: times(4, [
      run([long], { targets: 4, cancel: begun(32, 3_000) }),
      run([long], { targets: 3, cancel: begun(32, 3_200), isForced: true }),
      run([long, cleanUp], { targets: 3, cancel: begun(32, 3_100) }),
    ]),
    helpers: onAll('agent-killed', begun(32), 50),
    moment: begun(32, 1_500),
  };
}

/** Runs that can't begin in time, since another one holds their lock. */
function lateStart(): Shape {
  const locks = [{ name: 'one', mode: 'exclusive', per: 'installation' }];
  const waiting = { job: { locks, start_within: 1 }, startMs: 900 };
  return {
    edges: [
      'step ready>timed_out',
      'step pending>timed_out',
      ...ends('run', 'queued', ['timed_out']),
      ...ends('target_run', 'queued', ['timed_out']),
    ],
    runs: [
      run([step({ sleepS: 6 })], { targets: 1, job: { locks } }),
      ...Array.from({ length: 20 }, () => run([step(), step()], { ...waiting, targets: 1 })),
    ],
    helpers: [],
    moment: { at: 'time', ms: 1_400 },
  };
}

/** Runs that take longer than they may. */
function runTimeout(): Shape {
  const long = step({ sleepS: 60 });
  const job = { timeout: 3 };
  return {
    edges: [
      'step running>timed_out',
      'step pending>timed_out',
      ...ends('target_run', 'cancelling', ['timed_out']),
      ...ends('run', 'cancelling', ['timed_out', 'failed']),
      'run running>cancelling',
      'target_run running>cancelling',
    ],
    runs: times(3, [
      ...Array.from({ length: 3 }, () => run([long, step()], { job, targets: 3 })),
      run([long, cleanUp], { job }),
    ]),
    helpers: [],
    moment: begun(12, 1_200),
  };
}

/** Steps that time out by themselves. */
function timeouts(): Shape {
  const long = step({ sleepS: 60, timeout: 2 });
  return {
    edges: [
      'step running>timed_out',
      ...ends('run', 'running', ['timed_out']),
      ...ends('target_run', 'running', ['timed_out']),
      ...ends('run', 'queued', ['timed_out']),
      ...ends('target_run', 'queued', ['timed_out']),
    ],
    runs: Array.from({ length: 20 }, (_, n) => run([long], { targets: 2, startMs: 150 * n })),
    helpers: [],
    moment: begun(3),
  };
}

/** Runs that are cancelled as soon as they run, or before. */
function cancelled(): Shape {
  const long = step({ sleepS: 60 });
  const locks = [{ name: 'two', mode: 'exclusive', per: 'installation' }];
  return {
    edges: [
      'step running>cancelled',
      'step ready>cancelled',
      ...ends('run', 'queued', ['cancelling', 'cancelled']),
      ...ends('target_run', 'queued', ['cancelling', 'cancelled']),
      ...ends('run', 'running', ['cancelling', 'cancelled']),
      ...ends('target_run', 'running', ['cancelled']),
      ...ends('run', 'cancelling', ['cancelled']),
      ...ends('target_run', 'cancelling', ['cancelled']),
    ],
    runs: times(2, [
      run([long, step()], { cancel: begun(12, 300) }),
      run([long, cleanUp], { cancel: begun(12, 400) }),
      run([step({ sleepS: 2 })], { cancel: begun(12, 500) }),
      run([step({ sleepS: 2, exitCode: 3 })], { job: tolerant, cancel: begun(12, 500) }),
      run([step({ exitCode: 3, rules: { retry: { attempts: 2, delay: 9 } } })], { cancel: begun(12, 900) }),
      run([step({ sleepS: 4 })], { job: { locks }, targets: 1 }),
      run([step()], { job: { locks }, startMs: 600, cancel: begun(12, 600) }),
      run([step(), long], { job: { strategy: { max_parallel: 1 } }, cancel: begun(12, 700) }),
    ]),
    helpers: [],
    moment: begun(12),
  };
}

/** Runs that are cancelled while they do nothing: their steps wait to be tried again. */
function idleCancelled(): Shape {
  const again = step({ exitCode: 3, rules: { retry: { attempts: 2, delay: 9 } } });
  return {
    edges: ['step ready>cancelled', 'target_run running>cancelled', 'run running>cancelled'],
    runs: Array.from({ length: 40 }, (_, n) =>
      run([again, step()], { targets: 1, startMs: 150 * n, cancel: begun(n + 1, 1_500) }),
    ),
    helpers: [],
    moment: begun(8),
  };
}

/** Runs that are cancelled when what they do is over, and nobody has been told yet. */
function overUntold(): Shape {
  const alone = { targets: 1 };
  const kinds = [
    run([step()], alone),
    run([failing], alone),
    run([failing], { ...alone, job: tolerant }),
    run([step({ sleepS: 60, timeout: 1 })], alone),
  ];
  const isTimedOut = (n: number) => n % kinds.length === 3;
  return {
    edges: [
      ...ends('run', 'cancelling', ['succeeded', 'failed', 'partial', 'timed_out']),
      ...ends('target_run', 'cancelling', ['succeeded', 'failed', 'timed_out']),
    ],
    runs: times(12, kinds).map((one, n) => ({
      ...one,
      startMs: 200 * n,
      cancel: begun(n + 1, isTimedOut(n) ? 1_250 : 150),
    })),
    helpers: toldLate(12_000),
    moment: begun(6),
  };
}

/** Steps whose own condition is false. */
function skipped(): Shape {
  return {
    edges: ['step running>skipped'],
    runs: Array.from({ length: 12 }, (_, n) => run([step(), never(), never()], { startMs: 300 * n })),
    helpers: [],
    moment: begun(2),
  };
}

/** Commands that go on while their agent is gone for good, as far as the others can know. */
function takenOver(): Shape {
  return {
    edges: [],
    runs: [longRun(0), longRun(3), longRun(0)],
    helpers: [fault('agent-gone', begun(6), 14_000, 0)],
    moment: begun(6, 6_000),
  };
}

/** Of commands that survive their agent, and go on for as long as it takes to notice that it is gone. */
export function longRun(exitCode: number): PlannedRun {
  return run([step({ output: { kind: 'drip', lines: 20 }, exitCode, sleepS: 9, survives: true })]);
}

const shapes = {
  quick,
  held,
  'held-untold': heldUntold,
  'held-cancelled': heldAndCancelled,
  late,
  'late-held': lateHeld,
  'late-cancel': lateCancel,
  'idle-cancelled': idleCancelled,
  'late-start': lateStart,
  'run-timeout': runTimeout,
  timeouts,
  cancelled,
  'over-untold': overUntold,
  skipped,
  'skipped-late': skippedLate,
  'taken-over': takenOver,
} as const satisfies Record<string, () => Shape>;
export type ShapeName = keyof typeof shapes;
export const shapeNames = Object.keys(shapes) as ShapeName[];

export function shapeOf(name: ShapeName): Shape {
  return shapes[name]();
}
