// What shapes of rounds are put together from (shapes.ts). Pure, as the whole plan.
import type { FaultKind, Moment, PlannedFault, PlannedRun, PlannedStep } from '../plan-round.ts';

/** What a shape leads through; by these a shape is chosen that has been met too seldom. */
export const ends = (kind: 'run' | 'target_run', from: string, to: readonly string[]) =>
  to.map((end) => `${kind} ${from}>${end}`);

export interface Shape {
  edges: readonly string[];
  /** How often a round leads through each of them, about, while faults are in force: by what it fills it is chosen. */
  timesEach: number;
  runs: readonly PlannedRun[];
  /** What has to be done for it, whatever is aimed. */
  helpers: readonly PlannedFault[];
  /** When the faults that it is aimed at begin. From then on changes come about for some eight seconds, in most shapes. */
  moment: Moment;
  /** When its commands that wait for it go on. */
  gate?: Moment;
  /** The faults that it is for, where it is not for all. */
  only?: readonly FaultKind[];
  /** Where the connections to the targets are cut, little of it comes about. */
  isLostToCuts?: boolean;
}

const windowMs = 7_500;

export const step = (fields: Partial<PlannedStep> = {}): PlannedStep => ({
  output: { kind: 'small', lines: 1 },
  exitCode: 0,
  isGated: false,
  sleepS: 0,
  timeout: undefined,
  survives: false,
  rules: {},
  ...fields,
});

export const run = (steps: PlannedStep[], fields: Partial<PlannedRun> = {}): PlannedRun => ({
  startMs: 0,
  startAt: undefined,
  targets: 4,
  steps,
  job: {},
  cancel: undefined,
  isForced: false,
  decision: 'succeeded',
  decideAt: undefined,
  isUnnoted: false,
  ...fields,
});

/** So long after the commands of so many steps have begun. */
export const begun = (count: number, plusMs = 0): Moment => ({ at: 'commands', count, plusMs });
/** So long after so many of the round's runs, target runs or steps were found in a status, or so many attempts have ended with it. */
export const found = (
  count: number,
  of: 'run' | 'target_run' | 'step' | 'attempt',
  is: string,
  plusMs = 0,
): Moment => ({ at: 'status', count, of, is, plusMs });
/** As many of so many as may be waited for: on a busy machine some are late, or never come. */
export const most = (count: number) => Math.floor(count * 0.85);
export const after = (moment: Moment, ms: number): Moment =>
  moment.at === 'time' ? { ...moment, ms: moment.ms + ms } : { ...moment, plusMs: (moment.plusMs ?? 0) + ms };
/** Behind the helpers that last until then: their end would end the same fault of an agent, and make one go on that was to be frozen. */
export const onceOver = (until: Moment): Moment => after(until, 50);
/** The n-th of so many moments, spread over the time for which aimed faults are in force. */
export const paced = (moment: Moment, n: number, count: number): Moment =>
  after(moment, Math.round((n * windowMs) / count));

export const fault = (kind: FaultKind, moment: Moment, forMs: number, member: number): PlannedFault => ({
  kind,
  moment,
  forMs,
  until: undefined,
  member,
  direction: 'both',
  amountMs: 0,
  gone: undefined,
});

export const onAll = (kind: FaultKind, moment: Moment, forMs: number) =>
  [0, 1, 2].map((member) => fault(kind, moment, forMs, member));
/** All agents are frozen until something has come about without them. */
export const frozen = (moment: Moment, until: Moment): PlannedFault[] =>
  onAll('agent-stopped', moment, 0).map((each) => ({ ...each, until }));

/** What all agents say is lost, or comes only when something has come about without it. */
export const unheard = (moment: Moment, until: Moment): PlannedFault[] =>
  onAll('network-half-open', moment, 0).map((each) => ({ ...each, direction: 'up', until }));

/** Several of each, so that one round leads through its changes often. */
export const times = <T>(copies: number, each: readonly T[]): T[] =>
  Array.from({ length: copies }, () => each).flat();

export const hold = { on_unknown: 'hold' };
export const cleanUp = step({ rules: { when_status: 'always' } });
export const failing = step({ exitCode: 3 });
export const tolerant = { strategy: { max_parallel: 4, max_failures: 4 } };
/** One host after the other, and the next one also where one is unknown: such a run is open while its first host is. */
export const oneByOne = { strategy: { max_parallel: 1, max_failures: 4 } };
/** Its condition is false. */
export const never = (rules = {}) => step({ rules: { ...rules, when: 'target.name == "nowhere"' } });
/** A lock of the whole installation. */
export const lock = (name: string, mode: 'exclusive' | 'shared') => ({
  locks: [{ name, mode, per: 'installation' }],
});
/** Goes on to its end once the gate of the round is opened. */
export const gated = (fields: Partial<PlannedStep> = {}) => step({ ...fields, isGated: true });
/** Tried again only long after everybody has gone. */
export const waitsLong = { retry: { attempts: 2, delay: 60 } };
