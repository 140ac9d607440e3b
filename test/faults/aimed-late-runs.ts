// Shapes in which what agents know is told late, or of runs that have changed meanwhile.
import {
  begun,
  ends,
  fault,
  hold,
  never,
  onAll,
  onTwo,
  run,
  type Shape,
  step,
  times,
  tolerant,
} from './aimed-parts.ts';
import type { Moment, PlannedFault, PlannedStep } from './plan-round.ts';

/** What its agents say is lost for so long, and leases still come. */
const unheard = (ms: number, forMs: number, members: readonly number[]): PlannedFault[] =>
  members.map((member) => ({
    ...fault('network-half-open', { at: 'time', ms }, forMs, member),
    direction: 'up',
  }));
/** A run goes on with its other hosts when some are unknown: on agents that are there. */
const open = { strategy: { max_parallel: 3, max_failures: 4 } };

/** Two agents are cut off for longer than `unknown_after`, and come back with what became of it while the run is open. */
export function late(): Shape {
  const later = step({ sleepS: 12 });
  return {
    edges: [
      'step running>unknown',
      ...['succeeded', 'failed', 'timed_out', 'ready'].map((to) => `step unknown>${to}`),
      'step skipped>pending',
      ...ends('target_run', 'unknown', ['running', 'succeeded', 'failed', 'timed_out']),
      ...ends('target_run', 'running', ['unknown']),
    ],
    runs: times(2, [
      run([step({ sleepS: 6 }), later], { job: open }),
      run([step({ sleepS: 6 })], { job: open }),
      run([step({ sleepS: 6, exitCode: 3 })], { job: open }),
      run([step({ sleepS: 6, exitCode: 3, rules: { retry: { attempts: 2, delay: 0 } } })], { job: open }),
      run([step({ sleepS: 60, timeout: 5 })], { job: open }),
    ]),
    helpers: onTwo('network-cut', begun(28), 6_000),
    moment: begun(28, 6_200),
  };
}

/** The same of what is held for a person meanwhile, on one host each: the run follows it. */
export function lateHeld(): Shape {
  const long = (fields: Partial<PlannedStep>) => step({ sleepS: 6, ...fields, rules: hold });
  const alone = { targets: 1, decideAt: begun(38, 14_000) };
  const ended = ['succeeded', 'failed', 'timed_out'];
  return {
    edges: [
      ...ended.map((to) => `step held>${to}`),
      ...ends('target_run', 'held', ended),
      ...ends('run', 'held', [...ended, 'partial', 'running']),
      'step running>held',
      'target_run running>held',
      'run running>held',
    ],
    runs: times(8, [
      run([long({})], alone),
      run([long({ exitCode: 3 })], alone),
      run([long({ sleepS: 60, timeout: 5 })], alone),
      run([long({ exitCode: 3 })], { ...alone, job: tolerant }),
      run([long({}), step()], alone),
    ]),
    helpers: onAll('network-cut', begun(38), 6_000),
    moment: begun(38, 6_200),
  };
}

/** Agents that were cut off come back to a run that was cancelled meanwhile, and that cleans up on its other hosts. */
export function lateCancel(): Shape {
  const steps = [step({ sleepS: 30 }), step({ sleepS: 14, rules: { when_status: 'always' } })];
  const job = { strategy: { max_parallel: 2, max_failures: 4 } };
  return {
    edges: [
      'step unknown>cancelled',
      ...ends('target_run', 'unknown', ['cancelled']),
      ...ends('target_run', 'cancelling', ['cancelled', 'unknown']),
      ...ends('run', 'cancelling', ['cancelled', 'unknown']),
      'step running>cancelled',
    ],
    // Agents wait longer after each try: these are back within ten seconds of the cut.
    runs: times(8, [run(steps, { job, cancel: begun(16, 5_600) })]),
    helpers: onTwo('network-cut', begun(16), 6_000),
    moment: begun(16, 7_000),
  };
}

/** So many messages with leases have passed: what was claimed is not noted for a moment. */
const leased = (nth: number, plusMs = 0): Moment => ({
  ...{ at: 'frame', type: 'leases', direction: 'down', nth, when: 'after' },
  plusMs,
});
/** Both servers end before they have noted what they have leased. */
const unnoted = (nth: number): PlannedFault[] =>
  [0, 1].map((member) => fault('server-killed', leased(nth), 50, member));

/** Servers end with what they have just leased, and agents are killed or cut off: what is held was never noted to run. Some is then cancelled. */
export function heldUntold(): Shape {
  const long = step({ sleepS: 12, rules: hold });
  return {
    edges: [
      'step running>held',
      'target_run queued>held',
      'run queued>held',
      'run held>cancelling',
      ...ends('target_run', 'held', ['unknown']),
      ...ends('run', 'cancelling', ['unknown']),
    ],
    runs: [
      ...times(6, [run([long], { startMs: 400, cancel: leased(8, 3_600) })]),
      ...times(12, [run([long], { targets: 2, startMs: 400 })]),
    ],
    helpers: [
      ...unnoted(8),
      fault('agent-killed', leased(8, 50), 50, 0),
      ...[1, 2].map((member) => fault('network-cut', leased(8, 50), 8_000, member)),
    ],
    moment: leased(8, 2_000),
  };
}

/** Steps whose own condition is false, told of only when their agent is back: what it says is lost from before they are leased. */
export function skippedLate(): Shape {
  const many = (one: PlannedStep) => run([one, step({ sleepS: 10 })], { startMs: 500 });
  return {
    edges: ['step unknown>skipped', 'step held>skipped'],
    runs: times(3, [many(never()), many(never()), many(never(hold))]),
    helpers: unheard(300, 6_500, [0, 1]),
    moment: { at: 'time', ms: 7_000 },
  };
}
