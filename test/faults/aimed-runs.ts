// Rounds that aim: runs that are led through changes of status which come about seldom by chance, and what is done to
// them for it, so that other faults can be in force just then. Pure, as the whole plan.
import type { FaultKind, Moment, PlannedFault, PlannedRun, PlannedStep } from './plan-round.ts';

/** What a shape leads through; by these a shape is chosen that has been met too seldom. */
const ends = (kind: 'run' | 'target_run', from: string, to: readonly string[]) =>
  to.map((end) => `${kind} ${from}>${end}`);

interface Shape {
  edges: readonly string[];
  runs: readonly PlannedRun[];
  /** What has to be done for it, whatever is aimed. */
  helpers: readonly PlannedFault[];
  /** When the faults that it is aimed at begin. */
  moment: Moment;
}

const step = (fields: Partial<PlannedStep> = {}): PlannedStep => ({
  output: { kind: 'small', lines: 1 },
  exitCode: 0,
  sleepS: 0,
  timeout: undefined,
  survives: false,
  rules: {},
  ...fields,
});

const run = (steps: PlannedStep[], fields: Partial<PlannedRun> = {}): PlannedRun => ({
  startMs: 0,
  targets: 4,
  steps,
  job: {},
  cancel: undefined,
  isForced: false,
  decision: 'succeeded',
  decideAt: undefined,
  ...fields,
});

/** So long after so many commands have begun: each is heard of about twice. */
const begun = (commands: number, plusMs = 0): Moment => ({ at: 'line', nth: 2 * commands, plusMs });
/** An agent comes back, and so many in all. */
const back = (plusMs = 0, nth = 1): Moment => ({
  ...{ at: 'frame', type: 'resume', direction: 'up', nth, when: 'before' },
  plusMs,
});

const fault = (kind: FaultKind, moment: Moment, forMs: number, member: number): PlannedFault => ({
  kind,
  moment,
  forMs,
  member,
  direction: 'both',
  amountMs: 0,
  gone: undefined,
});

const onAll = (kind: FaultKind, moment: Moment, forMs: number) =>
  [0, 1, 2].map((member) => fault(kind, moment, forMs, member));
const onTwo = (kind: FaultKind, moment: Moment, forMs: number) =>
  [0, 1].map((member) => fault(kind, moment, forMs, member));

/** Several of each, so that one round leads through its changes often. */
const times = (copies: number, runs: readonly PlannedRun[]) =>
  Array.from({ length: copies }, () => runs).flat();

/** What agents say comes late: a server does not know yet of what has begun, or is over. */
const toldLate = (forMs: number): PlannedFault[] =>
  [0, 1, 2].map((member) => ({
    ...fault('frames-delayed', { at: 'time', ms: 0 }, forMs, member),
    direction: 'up',
    amountMs: 600,
  }));

const hold = { on_unknown: 'hold' };
const cleanUp = step({ rules: { when_status: 'always' } });
const failing = step({ exitCode: 3 });
const tolerant = { strategy: { max_parallel: 4, max_failures: 4 } };

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
    runs: times(3, [
      ...decisions.map((decision) => run([long], { decision, targets: 3, decideAt: back(800, 3) })),
      run([long, step()], { decideAt: back(800, 3), targets: 2 }),
      run([long], { decision: 'failed', targets: 2, decideAt: back(800, 3), job: tolerant }),
    ]),
    helpers: [...toldLate(6_000), ...onAll('agent-killed', begun(36), 50)],
    moment: back(),
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
      run([long], { targets: 4, cancel: back(800, 3) }),
      run([long], { targets: 3, cancel: back(1_000, 3), isForced: true }),
      run([long, cleanUp], { targets: 3, cancel: back(900, 3) }),
    ]),
    helpers: onAll('agent-killed', begun(32), 50),
    moment: back(500),
  };
}

/** Two agents are cut off for longer than `unknown_after`, and come back with what became of it while the run is open. */
function late(): Shape {
  const later = step({ sleepS: 12 });
  const open = { strategy: { max_parallel: 3, max_failures: 4 } };
  return {
    edges: [
      'step running>unknown',
      ...['succeeded', 'failed', 'timed_out', 'ready'].map((to) => `step unknown>${to}`),
      'step held>succeeded',
      'step held>timed_out',
      'step skipped>pending',
      ...ends('target_run', 'held', ['timed_out']),
      ...ends('run', 'held', ['timed_out']),
      ...ends('target_run', 'unknown', ['running', 'succeeded', 'failed', 'timed_out']),
      ...ends('target_run', 'running', ['unknown']),
    ],
    runs: times(2, [
      run([step({ sleepS: 6 }), later]),
      run([step({ sleepS: 6 })], { job: open }),
      run([step({ sleepS: 6, exitCode: 3 })], { job: open }),
      run([step({ sleepS: 6, exitCode: 3, rules: { retry: { attempts: 2, delay: 0 } } })], { job: open }),
      run([step({ sleepS: 60, timeout: 5 })], { job: open }),
      run([step({ sleepS: 60, timeout: 5, rules: hold })], { targets: 3 }),
    ]),
    helpers: onTwo('network-cut', begun(28), 6_000),
    moment: back(),
  };
}

/** Agents that were cut off come back to a run that was cancelled meanwhile. */
function lateCancel(): Shape {
  return {
    edges: [
      'step unknown>cancelled',
      ...ends('target_run', 'unknown', ['cancelled']),
      ...ends('target_run', 'cancelling', ['cancelled', 'unknown', 'succeeded', 'failed']),
      ...ends('run', 'cancelling', ['cancelled', 'unknown']),
      'step running>cancelled',
    ],
    runs: times(5, [
      run([step({ sleepS: 30 }), step({ sleepS: 8, rules: { when_status: 'always' } })], {
        cancel: begun(30, 6_500),
      }),
      run([step({ sleepS: 30 }), step({ sleepS: 8, rules: { when_status: 'always' } })], {
        cancel: begun(30, 6_600),
      }),
    ]),
    helpers: onTwo('network-cut', begun(30), 8_000),
    moment: back(),
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

/** Runs that are cancelled when what they do is over, and nobody has been told yet. */
function overUntold(): Shape {
  const kinds = [
    run([step()]),
    run([failing]),
    run([failing], { job: tolerant }),
    run([step({ sleepS: 60, timeout: 1 })]),
  ];
  const isTimedOut = (n: number) => n % kinds.length === 3;
  return {
    edges: [
      ...ends('run', 'cancelling', ['succeeded', 'failed', 'partial', 'timed_out']),
      ...ends('target_run', 'cancelling', ['succeeded', 'failed', 'timed_out']),
    ],
    runs: times(4, kinds).map((one, n) => ({
      ...one,
      startMs: 400 * n,
      cancel: begun(4 * n + 4, isTimedOut(n) ? 1_250 : 150),
    })),
    helpers: toldLate(12_000),
    moment: begun(6),
  };
}

const never = (rules = {}) => step({ rules: { ...rules, when: 'target.name == "nowhere"' } });

/** Steps whose own condition is false. */
function skipped(): Shape {
  return {
    edges: ['step running>skipped'],
    runs: Array.from({ length: 12 }, (_, n) => run([step(), never(), never()], { startMs: 300 * n })),
    helpers: [],
    moment: begun(2),
  };
}

/** The same, told of only when their agent is back: what it says is lost from before they are leased. */
function skippedLate(): Shape {
  const many = (one: PlannedStep) => run([one, step({ sleepS: 10 })], { startMs: 500 });
  return {
    edges: ['step unknown>skipped', 'step held>skipped'],
    runs: times(3, [many(never()), many(never()), many(never(hold))]),
    helpers: [0, 1].map((member) => ({
      ...fault('network-half-open', { at: 'time', ms: 300 }, 6_500, member),
      direction: 'up',
    })),
    moment: back(),
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
  'held-cancelled': heldAndCancelled,
  late,
  'late-cancel': lateCancel,
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
