// Shapes of runs that the database refuses to record as running: they end or are held without ever having been running.
import {
  after,
  begun,
  ends,
  failing,
  fault,
  found,
  gated,
  hold,
  most,
  paced,
  run,
  type Shape,
  step,
  tolerant,
} from './parts.ts';

const unnoted = { targets: 1, isUnnoted: true };

/** Runs that end one after another, and others whose agents are killed one after another. */
export function untold(): Shape {
  const kinds = [
    run([step()], unnoted),
    run([failing], unnoted),
    run([failing], { ...unnoted, job: tolerant }),
    run([step({ sleepS: 60, timeout: 1 })], unnoted),
  ];
  const brief = 28;
  const long = 16;
  const moment = begun(most(long));
  const ended = ['succeeded', 'failed', 'timed_out', 'unknown', 'held'];
  return {
    timesEach: 6,
    edges: [...ends('run', 'queued', [...ended, 'partial']), ...ends('target_run', 'queued', ended)],
    runs: [
      ...Array.from({ length: long }, (_, n) =>
        run([gated({ rules: n % 3 === 0 ? {} : hold })], {
          ...unnoted,
          decideAt: after(moment, 12_000),
        }),
      ),
      ...Array.from({ length: brief }, (_, n) => ({
        ...(kinds[n % kinds.length] ?? run([])),
        startAt: paced(moment, n, brief),
      })),
    ],
    helpers: [0, 1, 2].map((member) =>
      fault('agent-killed', after(moment, 1_500 + 2_500 * member), 50, member),
    ),
    moment,
    gate: after(moment, 10_000),
  };
}

/** Runs that are held while their steps on other hosts were never recorded, and are cancelled one after another. */
export function heldUntold(): Shape {
  const count = 13;
  const targets = 3;
  const isHeld = found(5, 'run', 'held', 800);
  return {
    timesEach: 8,
    edges: [
      'run held>cancelling',
      ...ends('target_run', 'held', ['unknown']),
      ...ends('run', 'cancelling', ['unknown']),
    ],
    runs: Array.from({ length: count }, (_, n) =>
      run([gated({ rules: hold })], { targets, isUnnoted: true, cancel: paced(isHeld, n, count) }),
    ),
    helpers: [fault('agent-killed', begun(most(targets * count), 500), 50, 0)],
    moment: isHeld,
    gate: after(isHeld, 9_000),
  };
}
