// Rounds that aim: runs that are led through changes of status which come about seldom by chance, and what is done to
// them for it, so that other faults can be in force just then. Pure, as the whole plan.
import type { FaultKind, PlannedFault, PlannedRun, PlannedStep } from './plan-round.ts';

/** What a shape leads through; by these a shape is chosen that has been met too seldom. */
const ends = (kind: 'run' | 'target_run', from: string, to: readonly string[]) =>
  to.map((end) => `${kind} ${from}>${end}`);

interface Shape {
  edges: readonly string[];
  runs: readonly PlannedRun[];
  /** What has to be done for it, whatever is aimed. */
  helpers: readonly PlannedFault[];
  /** When the faults that it is aimed at begin, in ms. */
  atMs: number;
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

const fault = (kind: FaultKind, atMs: number, forMs: number, member: number): PlannedFault => ({
  kind,
  moment: { at: 'time', ms: atMs },
  forMs,
  member,
  direction: 'both',
  amountMs: 0,
  gone: undefined,
});

const onAll = (kind: FaultKind, atMs: number, forMs: number) =>
  [0, 1, 2].map((member) => fault(kind, atMs, forMs, member));

const hold = { on_unknown: 'hold' };
const cleanUp = step({ rules: { when_status: 'always' } });
const failing = step({ exitCode: 3 });
const tolerant = { strategy: { max_parallel: 4, max_failures: 4 } };

/** Runs that are over before anything has been told of them but their end. */
function quick(): Shape {
  const short = [...Array(8).fill(step()), ...Array(6).fill(failing)];
  return {
    edges: [
      ...ends('run', 'queued', ['succeeded', 'failed']),
      ...ends('target_run', 'queued', ['succeeded', 'failed']),
      'run running>failed',
      ...ends('run', 'queued', ['partial']),
      ...ends('run', 'running', ['partial']),
    ],
    runs: [
      ...short.map((one: PlannedStep, n) => run([one], { targets: 1 + (n % 2), startMs: 100 * n })),
      ...Array.from({ length: 6 }, (_, n) =>
        run([failing], { targets: 1 + (n % 3), startMs: 200 * n, job: tolerant }),
      ),
    ],
    helpers: [],
    atMs: 300,
  };
}

/** Agents are restarted while they run what a person is to decide of, who does so at once. */
function held(): Shape {
  const decisions = ['succeeded', 'failed', 'retry', 'cancel'] as const;
  const long = step({ sleepS: 5, rules: hold });
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
    runs: [
      ...decisions.map((decision) => run([long], { decision, targets: 3, decideAt: 4_000 })),
      run([long, step()], { decideAt: 4_000, targets: 3 }),
      run([long], { decision: 'failed', targets: 2, decideAt: 4_000, job: tolerant }),
    ],
    helpers: onAll('agent-killed', 1_500, 50),
    atMs: 2_200,
  };
}

/** What is held while its run is cancelled, with force and without. */
function heldAndCancelled(): Shape {
  const long = step({ sleepS: 5, rules: hold });
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
    runs: [
      run([long], { targets: 4, cancel: { at: 'time', ms: 4_000 } }),
      run([long], { targets: 3, cancel: { at: 'time', ms: 4_200 }, isForced: true }),
      run([long, cleanUp], { targets: 3, cancel: { at: 'time', ms: 4_100 } }),
    ],
    helpers: onAll('agent-killed', 1_500, 50),
    atMs: 3_300,
  };
}

/** Two agents are cut off for longer than `unknown_after`, and come back with what became of it while the run is open. */
function late(): Shape {
  const later = step({ sleepS: 8 });
  const open = { strategy: { max_parallel: 3, max_failures: 4 } };
  return {
    edges: [
      'step running>unknown',
      ...['succeeded', 'failed', 'timed_out', 'ready'].map((to) => `step unknown>${to}`),
      'step held>succeeded',
      'step skipped>pending',
      ...ends('target_run', 'unknown', ['running', 'succeeded', 'failed', 'timed_out']),
      ...ends('target_run', 'running', ['unknown']),
    ],
    runs: [
      run([step({ sleepS: 3 }), later]),
      run([step({ sleepS: 3 })], { job: open }),
      run([step({ sleepS: 3, exitCode: 3 })], { job: open }),
      run([step({ sleepS: 3, exitCode: 3, rules: { retry: { attempts: 2, delay: 0 } } })], { job: open }),
      run([step({ sleepS: 60, timeout: 4 })], { job: open, targets: 3 }),
    ],
    helpers: [fault('network-cut', 1_500, 7_000, 0), fault('network-cut', 1_500, 7_000, 1)],
    atMs: 8_000,
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
    runs: [
      run([step({ sleepS: 30 }), step({ sleepS: 6, rules: { when_status: 'always' } })], {
        cancel: { at: 'time', ms: 6_500 },
      }),
      run([step({ sleepS: 30 }), step({ sleepS: 6, rules: { when_status: 'always' } })], {
        cancel: { at: 'time', ms: 6_600 },
      }),
    ],
    helpers: [fault('network-cut', 1_200, 7_000, 0), fault('network-cut', 1_200, 7_000, 1)],
    atMs: 7_700,
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
      ...Array.from({ length: 5 }, () => run([step(), step()], { ...waiting, targets: 4 })),
    ],
    helpers: [],
    atMs: 1_600,
  };
}

/** Runs that take longer than they may. */
function runTimeout(): Shape {
  const long = step({ sleepS: 60 });
  const job = { timeout: 2 };
  return {
    edges: [
      'step running>timed_out',
      'step pending>timed_out',
      ...ends('target_run', 'cancelling', ['timed_out']),
      ...ends('run', 'cancelling', ['timed_out', 'failed']),
      'run running>cancelling',
      'target_run running>cancelling',
    ],
    runs: [...Array.from({ length: 3 }, () => run([long, step()], { job })), run([long, cleanUp], { job })],
    helpers: [],
    atMs: 1_900,
  };
}

/** Steps that time out by themselves. */
function timeouts(): Shape {
  const long = step({ sleepS: 60, timeout: 1 });
  return {
    edges: [
      'step running>timed_out',
      ...ends('run', 'running', ['timed_out']),
      ...ends('target_run', 'running', ['timed_out']),
      ...ends('run', 'queued', ['timed_out']),
      ...ends('target_run', 'queued', ['timed_out']),
    ],
    runs: Array.from({ length: 5 }, (_, n) => run([long], { targets: 3, startMs: 200 * n })),
    helpers: [],
    atMs: 900,
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
      ...ends('run', 'cancelling', ['cancelled', 'succeeded', 'partial']),
      ...ends('target_run', 'cancelling', ['cancelled', 'succeeded']),
    ],
    runs: [
      run([long, step()], { cancel: { at: 'time', ms: 1_500 } }),
      run([long, cleanUp], { cancel: { at: 'time', ms: 1_600 } }),
      run([step({ sleepS: 2 })], { cancel: { at: 'time', ms: 1_700 } }),
      run([step({ sleepS: 2, exitCode: 3 })], { job: tolerant, cancel: { at: 'time', ms: 1_700 } }),
      run([step({ sleepS: 4 })], { job: { locks }, targets: 1 }),
      run([step()], { job: { locks }, startMs: 600, cancel: { at: 'time', ms: 1_800 } }),
      run([step(), long], { job: { strategy: { max_parallel: 1 } }, cancel: { at: 'time', ms: 1_900 } }),
    ],
    helpers: [],
    atMs: 1_400,
  };
}

/** Steps whose own condition is false, some of which are told of only when their agent is back. */
function skipped(): Shape {
  const never = (rules = {}) => step({ rules: { ...rules, when: 'target.name == "nowhere"' } });
  const many = (one: PlannedStep) => run([step(), one, step({ sleepS: 6 })]);
  return {
    edges: ['step running>skipped', 'step unknown>skipped', 'step held>skipped'],
    runs: [many(never()), many(never()), many(never(hold)), many(never(hold))],
    helpers: [0, 1].map((member) => ({
      ...fault('network-cut', 0, 6_500, member),
      moment: { at: 'frame', type: 'leases', direction: 'down', nth: 3 + 2 * member, when: 'after' },
    })),
    atMs: 600,
  };
}

/** Commands that go on while their agent is gone for good, as far as the others can know. */
function takenOver(): Shape {
  return {
    edges: [],
    runs: [longRun(0), longRun(3), longRun(0)],
    helpers: [fault('agent-gone', 1_500, 9_000, 0)],
    atMs: 5_500,
  };
}

/** Of commands that survive their agent, and go on for as long as it takes to notice that it is gone. */
export function longRun(exitCode: number): PlannedRun {
  return run([step({ output: { kind: 'drip', lines: 34 }, exitCode, survives: true })]);
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
  skipped,
  'taken-over': takenOver,
} as const satisfies Record<string, () => Shape>;
export type ShapeName = keyof typeof shapes;
export const shapeNames = Object.keys(shapes) as ShapeName[];

export function shapeOf(name: ShapeName): Shape {
  return shapes[name]();
}
