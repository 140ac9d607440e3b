// Shapes of runs that are cancelled, or stopped at their timeout.
import {
  after,
  begun,
  cleanUp,
  ends,
  failing,
  found,
  gated,
  lock,
  most,
  onceOver,
  paced,
  run,
  type Shape,
  step,
  times,
  tolerant,
  unheard,
  waitsLong,
} from './parts.ts';

/** Runs that are cancelled as soon as they run, or before. */
export function cancelled(): Shape {
  const long = step({ sleepS: 60 });
  return {
    timesEach: 5,
    edges: [
      'step running>cancelled',
      'step ready>cancelled',
      ...ends('run', 'queued', ['cancelling']),
      ...ends('target_run', 'queued', ['cancelling', 'cancelled']),
      ...ends('run', 'running', ['cancelling']),
      ...ends('run', 'cancelling', ['cancelled']),
      ...ends('target_run', 'cancelling', ['cancelled']),
    ],
    runs: times(2, [
      run([long, step()], { cancel: begun(12, 300) }),
      run([long, cleanUp], { cancel: begun(12, 400) }),
      run([step({ sleepS: 2 })], { cancel: begun(12, 500) }),
      run([step({ sleepS: 2, exitCode: 3 })], { job: tolerant, cancel: begun(12, 500) }),
      run([step({ exitCode: 3, rules: { retry: { attempts: 2, delay: 9 } } })], { cancel: begun(12, 900) }),
      run([step({ sleepS: 4 })], { job: lock('two', 'exclusive'), targets: 1 }),
      run([step()], { job: lock('two', 'exclusive'), startMs: 600, cancel: begun(12, 600) }),
      run([step(), long], { job: { strategy: { max_parallel: 1 } }, cancel: begun(12, 700) }),
    ]),
    helpers: [],
    moment: begun(12),
  };
}

/** Runs that are cancelled while idle: their steps wait for the next try or for a lock. */
export function idleCancelled(): Shape {
  const idle = 34;
  const waiting = 10;
  const moment = found(most(idle), 'attempt', 'failed', 500);
  const again = step({ exitCode: 3, rules: waitsLong });
  const locked = { targets: 1, job: lock('two', 'exclusive') };
  return {
    timesEach: 20,
    edges: [
      'step ready>cancelled',
      ...ends('run', 'running', ['cancelled']),
      ...ends('target_run', 'running', ['cancelled']),
      ...ends('run', 'queued', ['cancelled']),
      ...ends('target_run', 'queued', ['cancelled']),
    ],
    runs: [
      run([step({ sleepS: 60 })], { ...locked, cancel: after(moment, 9_000) }),
      ...Array.from({ length: idle }, (_, n) =>
        run([again, step()], { targets: 1, cancel: paced(moment, n, idle) }),
      ),
      ...Array.from({ length: waiting }, (_, n) =>
        run([step()], { ...locked, startMs: 900, cancel: paced(moment, n, waiting) }),
      ),
    ],
    helpers: [],
    moment,
  };
}

/**
 * Runs that are cancelled while they clean up after an earlier failure: they end with that failure, one after another.
 */
export function cleaningCancelled(): Shape {
  const count = 30;
  const cleaningFor = (sleepS: number) => step({ sleepS, rules: { when_status: 'always' } });
  const kinds = [
    { first: failing, job: {} },
    { first: failing, job: tolerant },
    { first: step({ sleepS: 60, timeout: 1 }), job: {} },
  ];
  // Steps that time out do so a second later.
  const isCleaning = found(most((2 * count) / 3), 'attempt', 'failed', 1_800);
  return {
    timesEach: 10,
    edges: [
      ...ends('run', 'cancelling', ['failed', 'partial', 'timed_out']),
      ...ends('target_run', 'cancelling', ['failed', 'timed_out']),
    ],
    runs: times(count / kinds.length, kinds).map(({ first, job }, n) =>
      run([first, cleaningFor(9 + n / 5)], { targets: 1, job, cancel: isCleaning }),
    ),
    helpers: [],
    moment: after(isCleaning, 4_500),
  };
}

/**
 * Runs that are cancelled after their work is over but not yet reported: agents' messages are lost until all are
 * cancelled.
 */
export function overUntold(): Shape {
  const count = 24;
  const all = most(count);
  const isCancelling = found(all - 1, 'run', 'cancelling', 300);
  return {
    timesEach: 12,
    edges: [...ends('run', 'cancelling', ['succeeded']), ...ends('target_run', 'cancelling', ['succeeded'])],
    runs: Array.from({ length: count }, () => run([gated()], { targets: 1, cancel: begun(all, 1_800) })),
    helpers: unheard(begun(all, 500), isCancelling),
    moment: onceOver(isCancelling),
    gate: begun(all, 700),
  };
}

/** Runs that exceed their timeout. */
export function runTimeout(): Shape {
  const long = step({ sleepS: 60 });
  const job = { timeout: 3 };
  const moment = begun(4);
  return {
    timesEach: 5,
    edges: [
      'step running>timed_out',
      'step pending>timed_out',
      ...ends('target_run', 'cancelling', ['timed_out']),
      ...ends('run', 'cancelling', ['timed_out']),
      ...ends('run', 'running', ['cancelling']),
    ],
    runs: Array.from({ length: 12 }, (_, n) =>
      run(n % 4 === 0 ? [long, cleanUp] : [long, step()], {
        job,
        targets: 3,
        ...(n < 2 ? {} : { startAt: paced(moment, n, 12) }),
      }),
    ),
    helpers: [],
    moment,
  };
}
