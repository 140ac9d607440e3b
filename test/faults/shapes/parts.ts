// Building blocks for shapes of rounds (shapes.ts). Pure, like the whole plan.
import type { FaultKind, Moment, PlannedFault, PlannedRun, PlannedStep } from '../plan-round.ts';

/** The changes that a shape leads through; shapes are chosen by the changes that were met too rarely. */
export const ends = (kind: 'run' | 'target_run', from: string, to: readonly string[]) =>
  to.map((end) => `${kind} ${from}>${end}`);

export interface Shape {
  edges: readonly string[];
  /** About how often a round leads through each change while faults are in force; used in choosing a shape. */
  timesEach: number;
  runs: readonly PlannedRun[];
  /** What the shape itself requires to be done, whatever is aimed at it. */
  helpers: readonly PlannedFault[];
  /** When the aimed faults begin. In most shapes, changes then occur for about eight seconds. */
  moment: Moment;
  /** When its commands that wait for the gate continue. */
  gate?: Moment;
  /** The faults that it is for, if not for all. */
  only?: readonly FaultKind[];
  /** If connections to the targets are cut, little of it happens. */
  isLostToCuts?: boolean;
}

const windowMs = 7_500;

export const step = (fields: Partial<PlannedStep> = {}): PlannedStep => ({
  output: { kind: 'small', lines: 1 },
  exitCode: 0,
  isGated: false,
  sleepS: 0,
  hangsOn: [],
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
  hostCancels: [],
  decision: 'succeeded',
  decideAt: undefined,
  isUnnoted: false,
  ...fields,
});

/** The given time after the commands of this many steps have begun. */
export const begun = (count: number, plusMs = 0): Moment => ({ at: 'commands', count, plusMs });
/**
 * The given time after this many of the round's runs, target runs or steps were found in a status, or this many
 * attempts ended with it.
 */
export const found = (
  count: number,
  of: 'run' | 'target_run' | 'step' | 'attempt',
  is: string,
  plusMs = 0,
): Moment => ({ at: 'status', count, of, is, plusMs });
/** As many as can be waited for: on a busy machine, some are late or never come. */
export const most = (count: number) => Math.floor(count * 0.85);
export const after = (moment: Moment, ms: number): Moment =>
  moment.at === 'time' ? { ...moment, ms: moment.ms + ms } : { ...moment, plusMs: (moment.plusMs ?? 0) + ms };
/**
 * After the helpers that last until then: when these end, they would end the same fault of an agent, and so wake up one
 * that was meant to stay frozen.
 */
export const onceOver = (until: Moment): Moment => after(until, 50);
/** The n-th of `count` moments, spread over the time in which aimed faults are in force. */
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
/** All agents are frozen until something has happened without them. */
export const frozen = (moment: Moment, until: Moment): PlannedFault[] =>
  onAll('agent-stopped', moment, 0).map((each) => ({ ...each, until }));

/** Everything that agents send is lost, or arrives only after something has happened without it. */
export const unheard = (moment: Moment, until: Moment): PlannedFault[] =>
  onAll('network-half-open', moment, 0).map((each) => ({ ...each, direction: 'up', until }));

/** Several copies of each, so that one round leads through its changes often. */
export const times = <T>(copies: number, each: readonly T[]): T[] =>
  Array.from({ length: copies }, () => each).flat();

export const hold = { on_unknown: 'hold' };
export const cleanUp = step({ rules: { when_status: 'always' } });
export const failing = step({ exitCode: 3 });
export const tolerant = { strategy: { max_parallel: 4, max_failures: 4 } };
/** One host after another, continuing even if one is unknown: such a run is open as long as its first host is. */
export const oneByOne = { strategy: { max_parallel: 1, max_failures: 4 } };
/** A step whose condition is false. */
export const never = (rules = {}) => step({ rules: { ...rules, when: 'target.name == "nowhere"' } });
/** A lock for the whole installation. */
export const lock = (name: string, mode: 'exclusive' | 'shared') => ({
  locks: [{ name, mode, per: 'installation' }],
});
/** A step that finishes only once the round's gate is opened. */
export const gated = (fields: Partial<PlannedStep> = {}) => step({ ...fields, isGated: true });
/** Tried again only long after everything is over. */
export const waitsLong = { retry: { attempts: 2, delay: 60 } };
