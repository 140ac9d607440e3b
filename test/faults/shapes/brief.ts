// Shapes of short runs, one after another, while the aimed faults are in force.
import { after, begun, ends, lock, never, paced, run, type Shape, step, tolerant } from './parts.ts';

/** Runs that end by themselves once they are recorded as running, because they time out or fail. */
export function ended(): Shape {
  // By then, connections to the hosts are open.
  const warm = 6;
  const moment = begun(warm);
  const kinds = [
    ...Array(6).fill(run([step({ sleepS: 60, timeout: 1 })])),
    run([step({ exitCode: 3, sleepS: 1 })]),
    run([step({ exitCode: 3, sleepS: 1 })], { job: tolerant }),
  ];
  const count = 36;
  return {
    timesEach: 5,
    edges: [
      'step running>timed_out',
      ...ends('run', 'running', ['timed_out', 'failed', 'partial']),
      ...ends('target_run', 'running', ['timed_out', 'failed']),
    ],
    runs: [
      ...Array.from({ length: warm }, () => run([step()], { targets: 1 })),
      ...Array.from({ length: count }, (_, n) => ({
        ...(kinds[n % kinds.length] ?? run([])),
        targets: 1,
        startAt: paced(moment, n, count),
      })),
    ],
    helpers: [],
    moment,
  };
}

/** Runs that can't begin in time, because another one holds their lock. */
export function lateStart(): Shape {
  const moment = begun(1, 500);
  const count = 28;
  const waiting = { job: { ...lock('one', 'exclusive'), start_within: 1 }, targets: 1 };
  return {
    timesEach: 24,
    edges: [
      'step ready>timed_out',
      'step pending>timed_out',
      ...ends('run', 'queued', ['timed_out']),
      ...ends('target_run', 'queued', ['timed_out']),
    ],
    runs: [
      run([step({ sleepS: 12 })], { targets: 1, job: lock('one', 'exclusive') }),
      ...Array.from({ length: count }, (_, n) =>
        run([step(), step()], { ...waiting, startAt: paced(moment, n, count) }),
      ),
    ],
    helpers: [],
    moment,
  };
}

/** Steps whose own condition is false. */
export function skipped(): Shape {
  const moment = begun(4);
  const count = 12;
  return {
    timesEach: 30,
    edges: ['step running>skipped'],
    runs: Array.from({ length: count }, (_, n) =>
      run([step(), never(), never()], n === 0 ? {} : { startAt: paced(moment, n, count) }),
    ),
    helpers: [],
    moment,
  };
}

/**
 * Short steps in a row, most of which are leased ahead of their turn: they go back when one of them takes long, and are
 * closed when one of them fails.
 */
export function inARow(): Shape {
  const moment = begun(8);
  const count = 16;
  const row = (steps: number) => Array.from({ length: steps }, () => step());
  const kinds = [
    [...row(4), step({ sleepS: 2 }), ...row(5)],
    [...row(3), step({ sleepS: 2 }), ...row(4), step({ sleepS: 2 }), ...row(4)],
    [...row(4), step({ exitCode: 3 }), ...row(5)],
    row(12),
  ];
  return {
    timesEach: 24,
    edges: ['step running>pending', 'step running>skipped'],
    runs: Array.from({ length: count }, (_, n) =>
      run(kinds[n % kinds.length] ?? [], {
        targets: 2,
        ...(n === 0 ? {} : { startAt: paced(moment, n, count) }),
        ...(n % 5 === 4 ? { cancel: after(paced(moment, n, count), 700) } : {}),
      }),
    ),
    helpers: [],
    moment,
  };
}

/** Commands that continue while their agent is gone permanently, as far as the others can know. */
export function longRun(exitCode: number) {
  return run([step({ output: { kind: 'drip', lines: 20 }, exitCode, sleepS: 9, survives: true })]);
}
