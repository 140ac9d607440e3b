// Shapes of runs that are held for a person, who then decides or cancels.

import {
  after,
  begun,
  cleanUp,
  ends,
  found,
  frozen,
  gated,
  hold,
  most,
  onAll,
  onceOver,
  paced,
  run,
  type Shape,
  step,
  times,
  tolerant,
} from './parts.ts';

/**
 * Agents are killed while they run steps about which a person must decide; the person does so for one run after
 * another.
 */
export function held(): Shape {
  const long = gated({ rules: hold });
  const kinds = [
    run([long], { decision: 'succeeded' }),
    run([long], { decision: 'failed' }),
    run([long], { decision: 'failed', job: tolerant }),
    run([long], { decision: 'cancel' }),
    run([long], { decision: 'retry' }),
    run([long, step()], { decision: 'succeeded' }),
  ];
  const count = 35;
  const moment = found(most(count), 'run', 'held', 500);
  return {
    timesEach: 5,
    edges: [
      ...['ready', 'succeeded', 'failed', 'cancelled', 'unknown'].map((to) => `step held>${to}`),
      ...ends('target_run', 'held', ['running', 'succeeded', 'failed', 'cancelled', 'unknown']),
      ...ends('run', 'held', ['running', 'succeeded', 'failed', 'cancelled', 'partial', 'unknown']),
    ],
    runs: Array.from({ length: count }, (_, n) => {
      const kind = kinds[n % (kinds.length + 1)];
      const at = paced(moment, n, count);
      // One in seven is cancelled instead, and so is everything that is tried again once all is over.
      if (kind === undefined) return run([long], { targets: 1, cancel: at });
      const isAgain = kind.decision === 'retry';
      return { ...kind, targets: 1, decideAt: at, ...(isAgain ? { cancel: after(moment, 10_000) } : {}) };
    }),
    helpers: onAll('agent-killed', begun(most(count), 500), 50),
    moment,
    gate: after(moment, 9_000),
  };
}

/** Agents are killed, and what they ran becomes held while the faults are in force. */
export function beingHeld(): Shape {
  const long = gated({ rules: hold });
  const count = 24;
  return {
    timesEach: 20,
    edges: [
      'step running>held',
      ...ends('target_run', 'running', ['held']),
      ...ends('run', 'running', ['held']),
    ],
    runs: Array.from({ length: count }, () =>
      run([long], { targets: 1, decideAt: begun(most(count), 12_000) }),
    ),
    helpers: [0, 1, 2].flatMap((member) =>
      onAll('agent-killed', begun(most(count), 500 + 2_500 * member), 50).filter(
        (each) => each.member === member,
      ),
    ),
    moment: begun(most(count)),
  };
}

/** Held steps whose run is cancelled, with and without force. */
export function heldAndCancelled(): Shape {
  const long = step({ sleepS: 8, rules: hold });
  return {
    timesEach: 5,
    edges: [
      'step held>unknown',
      'step running>held',
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

/** Steps that became held while their agents were frozen end by themselves once these continue, one after another. */
export function lateHeld(): Shape {
  const count = 24;
  const isHeld = found(most(count), 'run', 'held', 500);
  const kindOf = (kind: number, n: number) => {
    const inTurn = { sleepS: lateS(n, count), rules: hold };
    if (kind === 1) return run([gated({ ...inTurn, exitCode: 3 })], { job: tolerant });
    if (kind === 3) return run([gated(inTurn)]);
    if (kind === 5) return run([gated({ ...inTurn, exitCode: 3 })]);
    if (kind === 7) return run([gated(inTurn), step()]);
    // Half of these survive the loss of their connection, so that it may be cut.
    const survives = n % 4 === 0;
    return run([step({ sleepS: 60, timeout: lateTimeout(n, count), rules: hold, survives })]);
  };
  const ended = ['succeeded', 'failed', 'timed_out'];
  return {
    timesEach: 4,
    edges: [
      ...ended.map((to) => `step held>${to}`),
      ...ends('target_run', 'held', ended),
      ...ends('run', 'held', [...ended, 'partial', 'running']),
    ],
    runs: Array.from({ length: count }, (_, n) => ({
      ...kindOf(n % 8, n),
      targets: 1,
      decideAt: after(isHeld, 14_000),
    })),
    helpers: frozen(begun(most(count), 500), isHeld),
    moment: onceOver(isHeld),
    gate: begun(most(count), 1_000),
    isLostToCuts: true,
  };
}

/**
 * How long the n-th command continues once the gate is open: some end while their agents are frozen, the others later,
 * in turn.
 */
export function lateS(n: number, count: number): number {
  return Math.round((130 * n) / count) / 10;
}

/** Timeout of one that doesn't wait for the gate: agents are frozen for about five seconds once all have begun. */
export function lateTimeout(n: number, count: number): number {
  return 10 + Math.round((12 * n) / count);
}
