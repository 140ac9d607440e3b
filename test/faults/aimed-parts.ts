// What shapes of rounds are put together from (aimed-runs.ts). Pure, as the whole plan.
import type { FaultKind, Moment, PlannedFault, PlannedRun, PlannedStep } from './plan-round.ts';

/** What a shape leads through; by these a shape is chosen that has been met too seldom. */
export const ends = (kind: 'run' | 'target_run', from: string, to: readonly string[]) =>
  to.map((end) => `${kind} ${from}>${end}`);

export interface Shape {
  edges: readonly string[];
  runs: readonly PlannedRun[];
  /** What has to be done for it, whatever is aimed. */
  helpers: readonly PlannedFault[];
  /** When the faults that it is aimed at begin. */
  moment: Moment;
}

export const step = (fields: Partial<PlannedStep> = {}): PlannedStep => ({
  output: { kind: 'small', lines: 1 },
  exitCode: 0,
  sleepS: 0,
  timeout: undefined,
  survives: false,
  rules: {},
  ...fields,
});

export const run = (steps: PlannedStep[], fields: Partial<PlannedRun> = {}): PlannedRun => ({
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
export const begun = (commands: number, plusMs = 0): Moment => ({ at: 'line', nth: 2 * commands, plusMs });
export const fault = (kind: FaultKind, moment: Moment, forMs: number, member: number): PlannedFault => ({
  kind,
  moment,
  forMs,
  member,
  direction: 'both',
  amountMs: 0,
  gone: undefined,
});

export const onAll = (kind: FaultKind, moment: Moment, forMs: number) =>
  [0, 1, 2].map((member) => fault(kind, moment, forMs, member));
export const onTwo = (kind: FaultKind, moment: Moment, forMs: number) =>
  [0, 1].map((member) => fault(kind, moment, forMs, member));

/** Several of each, so that one round leads through its changes often. */
export const times = (copies: number, runs: readonly PlannedRun[]) =>
  Array.from({ length: copies }, () => runs).flat();

/** What agents say comes late: a server does not know yet of what has begun, or is over. */
export const toldLate = (forMs: number): PlannedFault[] =>
  [0, 1, 2].map((member) => ({
    ...fault('frames-delayed', { at: 'time', ms: 0 }, forMs, member),
    direction: 'up',
    amountMs: 600,
  }));

export const hold = { on_unknown: 'hold' };
export const cleanUp = step({ rules: { when_status: 'always' } });
export const failing = step({ exitCode: 3 });
export const tolerant = { strategy: { max_parallel: 4, max_failures: 4 } };
/** Its condition is false. */
export const never = (rules = {}) => step({ rules: { ...rules, when: 'target.name == "nowhere"' } });
