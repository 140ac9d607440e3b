// Shapes in which single hosts of runs are cancelled while the others go on.
import type { Moment, PlannedHostCancel } from '../plan-round.ts';
import {
  after,
  begun,
  cleanUp,
  fault,
  found,
  frozen,
  gated,
  hold,
  most,
  onceOver,
  oneByOne,
  paced,
  run,
  type Shape,
  step,
  tolerant,
  waitsLong,
} from './parts.ts';

const ends = (from: string, to: readonly string[]) => to.map((end) => `host ${from}>${end}`);
const cancel = (host: number, moment: Moment, isForced = false): PlannedHostCancel => ({
  host,
  moment,
  isForced,
});
const spread = tolerant;

/** Hosts that hang, wait for their turn or for the next try; one in two runs also cleans up. */
export function hostCancelled(): Shape {
  const count = 6;
  const moment = begun(most(3 * count), 300);
  const waiting = step({ exitCode: 3, rules: waitsLong });
  const runs = Array.from({ length: count }, (_, n) => {
    const at = paced(moment, n, count);
    const last = n % 2 === 0 ? cleanUp : step();
    return [
      run([step({ hangsOn: [0, 1] }), step({ sleepS: 1 }), last], {
        targets: 3,
        job: spread,
        hostCancels: [cancel(0, at), cancel(1, after(at, 300), true)],
      }),
      run([step({ sleepS: 1, hangsOn: [0] }), step()], {
        targets: 3,
        job: oneByOne,
        hostCancels: [cancel(2, at), cancel(0, after(at, 300))],
      }),
      run([waiting, last], {
        targets: 2,
        job: spread,
        hostCancels: [cancel(0, at), cancel(1, after(at, 600))],
      }),
    ];
  });
  return {
    timesEach: 4,
    edges: [
      ...ends('queued', ['cancelled']),
      ...ends('running', ['cancelling', 'cancelled', 'unknown']),
      ...ends('cancelling', ['cancelled']),
    ],
    runs: runs.flat(),
    helpers: [],
    moment,
  };
}

/**
 * Agents are frozen until nobody knows what became of what they run. Some hosts are cancelled before that and some after;
 * when the agents continue, they are told to stop. The second host, which waits for its turn, keeps each run open. Half of
 * the commands survive the loss of their connection.
 */
export function hostUnknownCancelled(): Shape {
  const count = 16;
  const areBegun = begun(most(count), 500);
  const isUnknown = found(most(count), 'target_run', 'unknown', 300);
  const again = after(isUnknown, 3_000);
  return {
    timesEach: 8,
    edges: [...ends('cancelling', ['unknown']), ...ends('unknown', ['cancelled', 'running'])],
    runs: Array.from({ length: count }, (_, n) =>
      run(
        [step({ hangsOn: [0], survives: n % 4 < 2 }), step({ sleepS: 2 }), ...(n % 8 < 4 ? [cleanUp] : [])],
        {
          targets: 2,
          job: oneByOne,
          hostCancels: [cancel(0, n % 2 === 0 ? after(areBegun, 300 + 50 * n) : after(isUnknown, 100 * n))],
        },
      ),
    ),
    helpers: frozen(areBegun, again),
    moment: onceOver(again),
  };
}

/** Hosts whose step waits for a decision. */
export function hostHeldCancelled(): Shape {
  const count = 12;
  const isHeld = found(3, 'target_run', 'held', 800);
  return {
    timesEach: 6,
    edges: ends('held', ['unknown']),
    runs: Array.from({ length: count }, (_, n) =>
      run([gated({ rules: hold }), step()], {
        targets: 3,
        job: spread,
        hostCancels: [0, 1, 2].map((host) => cancel(host, paced(isHeld, 3 * n + host, 3 * count))),
      }),
    ),
    helpers: [fault('agent-killed', begun(most(3 * count), 500), 50, 0)],
    moment: isHeld,
    gate: after(isHeld, 9_000),
  };
}
