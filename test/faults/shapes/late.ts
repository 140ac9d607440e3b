// Shapes in which agents report late, when their steps are already unknown or held.
import type { PlannedStep } from '../plan-round.ts';
import { lateS, lateTimeout } from './held.ts';
import {
  after,
  begun,
  cleanUp,
  ends,
  found,
  frozen,
  gated,
  hold,
  lock,
  most,
  never,
  onceOver,
  oneByOne,
  paced,
  run,
  type Shape,
  step,
  unheard,
} from './parts.ts';

/**
 * Agents are frozen until nobody knows the state of what they run, and then report: first what has ended meanwhile,
 * then the rest in turn.
 */
export function late(): Shape {
  const count = 25;
  const again = { retry: { attempts: 2, delay: 0 } };
  const stepsOf = (kind: number, n: number): PlannedStep[] => {
    const inTurn = { sleepS: lateS(n, count) };
    if (kind === 0) return [gated(inTurn)];
    if (kind === 1) return [gated({ ...inTurn, exitCode: 3 })];
    // Half of these survive the loss of their connection, so that it may be cut.
    if (kind === 2) return [step({ sleepS: 60, timeout: lateTimeout(n, count), survives: n % 2 === 0 })];
    if (kind === 3) return [gated({ ...inTurn, exitCode: 3, rules: again })];
    return [gated(inTurn), step({ sleepS: 60 })];
  };
  const isUnknown = found(most(count), 'target_run', 'unknown', 500);
  return {
    timesEach: 4,
    edges: [
      ...['succeeded', 'failed', 'timed_out', 'ready'].map((to) => `step unknown>${to}`),
      'step skipped>pending',
      ...ends('target_run', 'unknown', ['running', 'succeeded', 'failed', 'timed_out']),
    ],
    runs: Array.from({ length: count }, (_, n) =>
      run(stepsOf(n % 5, n), {
        targets: 2,
        job: oneByOne,
        cancel: after(isUnknown, 11_000),
      }),
    ),
    helpers: frozen(begun(most(count), 500), isUnknown),
    moment: onceOver(isUnknown),
    gate: begun(most(count), 1_000),
    isLostToCuts: true,
  };
}

/** The same, only for steps that time out; half of them survive the loss of their connection, so that it may be cut. */
export function lateTimedOut(): Shape {
  const count = 24;
  const isUnknown = found(most(count), 'target_run', 'unknown', 500);
  return {
    timesEach: 20,
    edges: ['step unknown>timed_out', ...ends('target_run', 'unknown', ['timed_out'])],
    runs: Array.from({ length: count }, (_, n) =>
      run([step({ sleepS: 60, timeout: lateTimeout(n, count), survives: n % 2 === 0 })], {
        targets: 2,
        job: oneByOne,
        cancel: after(isUnknown, 14_000),
      }),
    ),
    helpers: frozen(begun(most(count), 500), isUnknown),
    moment: onceOver(isUnknown),
  };
}

/**
 * Agents are frozen while the run is cancelled, and stop what they run when they continue; a clean-up waiting for its
 * next try keeps the run open.
 */
export function lateCancel(): Shape {
  const count = 11;
  const here = 'target.name == "host-1" || target.name == "host-2"';
  // Half of those that are stopped late survive the loss of their connection, so that it may be cut.
  const steps = (n: number) => [
    step({ sleepS: 60, survives: n % 2 === 0, rules: { when: here } }),
    step({ exitCode: 3 }),
    step({ exitCode: 3, rules: { when_status: 'always', retry: { attempts: 2, delay: 14 } } }),
  ];
  const isReady = found(most(4 * count), 'attempt', 'failed', 800);
  const isUnknown = found(most(2 * count), 'target_run', 'unknown', 300);
  const cancelled = Array.from({ length: count }, (_, n) =>
    run(steps(n), { cancel: after(isReady, 300 + 60 * n) }),
  );
  // These are cancelled once their agents are back, and clean up on hosts whose result comes late.
  const cleaned = Array.from({ length: 5 }, (_, n) =>
    run([step({ sleepS: 40 }), cleanUp], {
      targets: 2,
      job: oneByOne,
      cancel: paced(after(isUnknown, 1_500), n, 5),
    }),
  );
  return {
    timesEach: 14,
    edges: ['step unknown>cancelled', ...ends('target_run', 'unknown', ['cancelled'])],
    runs: [...cancelled, ...cleaned],
    helpers: frozen(isReady, isUnknown),
    moment: onceOver(isUnknown),
  };
}

/**
 * Steps whose own condition is false: they are leased, and their agents' reports are lost until nobody waits for them.
 */
export function skippedLate(): Shape {
  const unknown = 18;
  const held = 20;
  const isLate = found(unknown / 2, 'target_run', 'unknown', 1_300);
  const waiting = { ...lock('three', 'shared'), ...oneByOne };
  const released = { at: 'frame', type: 'completed', direction: 'down', nth: 1, when: 'before' } as const;
  return {
    timesEach: 12,
    edges: [
      'step unknown>skipped',
      'step held>skipped',
      ...ends('run', 'held', ['succeeded']),
      ...ends('target_run', 'held', ['succeeded']),
    ],
    runs: [
      run([step({ sleepS: 6 })], { targets: 1, job: lock('three', 'exclusive') }),
      ...Array.from({ length: unknown }, () =>
        run([never()], { targets: 2, startMs: 1_000, job: waiting, cancel: after(isLate, 9_000) }),
      ),
      ...Array.from({ length: held }, () =>
        run([never(hold)], { targets: 1, startMs: 1_000, job: waiting, decideAt: after(isLate, 9_000) }),
      ),
    ],
    helpers: unheard(released, isLate),
    moment: onceOver(isLate),
  };
}
