// The events of a round, as a pure function of its seed and number: which runs, which faults, when, and what the
// operator does. "When" refers to an event in the system, so that a fault hits the intended moment on any machine.
import { Prng } from './prng.ts';
import { longRun } from './shapes/brief.ts';
import { after } from './shapes/parts.ts';
import { type ShapeName, shapeOf } from './shapes/shapes.ts';

export const faultKinds = [
  'agent-killed',
  'agent-stopped',
  'agent-disk-lost',
  'agent-gone',
  'server-killed',
  'server-stopped',
  'postgres-killed',
  'postgres-stopped',
  'database-cut',
  'database-outage',
  'database-restored',
  'standby-promoted',
  'network-cut',
  'network-stalled',
  'network-half-open',
  'frames-delayed',
  'frames-duplicated',
  'frames-reordered',
  'clock-stepped',
  'suspended',
  'target-cut',
] as const;
export type FaultKind = (typeof faultKinds)[number];

/**
 * A moment: a time after the start of the round, a passing frame, a command that begins on a target (a line may be
 * noticed once or twice), a number of steps begun there, a number of the round's rows in a status; or a time after one
 * of these.
 */
export type Moment =
  | { at: 'time'; ms: number }
  | {
      at: 'frame';
      type: string;
      direction: Direction;
      nth: number;
      when: 'before' | 'after';
      plusMs?: number;
      /** Only those that pass after this moment count. */
      behind?: Moment;
    }
  | { at: 'line'; nth: number; plusMs?: number }
  | {
      at: 'status';
      count: number;
      of: 'run' | 'target_run' | 'step' | 'attempt';
      is: string;
      plusMs?: number;
    }
  | { at: 'commands'; count: number; plusMs?: number };
export type Direction = 'up' | 'down';

export interface PlannedFault {
  kind: FaultKind;
  moment: Moment;
  forMs: number;
  /** For a helper: it ends at this moment instead. */
  until: Moment | undefined;
  /** Which of the agents or servers. */
  member: number;
  direction: Direction | 'both';
  /** By how much a clock is stepped, or how long a frame is delayed. */
  amountMs: number;
  /** For a half-open network: the side that is silently gone; `undefined`: one direction is silent. */
  gone: 'agent' | 'server' | undefined;
}

export interface PlannedStep {
  output: { kind: 'small' | 'both' | 'drip'; lines: number } | { kind: 'large'; from: number; bytes: number };
  exitCode: number;
  /** After its output it waits until the round's gate is opened. */
  isGated: boolean;
  /** How long it then sleeps, in seconds. */
  sleepS: number;
  /** Hosts, by their place among the run's targets, on which it hangs instead. */
  hangsOn: readonly number[];
  /** In seconds. */
  timeout: number | undefined;
  /** Its command survives its agent. */
  survives: boolean;
  rules: Record<string, unknown>;
}

/** A person cancels one host of a run. */
export interface PlannedHostCancel {
  /** Its place among the run's targets. */
  host: number;
  moment: Moment;
  isForced: boolean;
}

export interface PlannedRun {
  startMs: number;
  /** If set, it is started at this moment, regardless of `startMs`. */
  startAt: Moment | undefined;
  targets: number;
  steps: PlannedStep[];
  job: Record<string, unknown>;
  cancel: Moment | undefined;
  /** The cancel doesn't wait for agents. */
  isForced: boolean;
  /** Hosts that are cancelled by themselves. */
  hostCancels: readonly PlannedHostCancel[];
  /** The operator's decision about held steps. */
  decision: 'succeeded' | 'failed' | 'retry' | 'cancel';
  /** When they decide; by default when all faults are over. */
  decideAt: Moment | undefined;
  /** It can't be recorded as running as long as faults are injected: the database refuses it. */
  isUnnoted: boolean;
}

export interface RoundPlan {
  runs: PlannedRun[];
  faults: PlannedFault[];
  /** When commands that wait for the gate continue; by default at the end of the faults. */
  gate: Moment | undefined;
}

export const blobBytes = 4 * 1024 * 1024;
const minSteps = 50;
const maxTargets = 4;
export const servers = 2;
export const agents = 3;

const frames: readonly { type: string; direction: Direction; most: number }[] = [
  { type: 'leases', direction: 'down', most: 8 },
  { type: 'started', direction: 'up', most: 30 },
  { type: 'output', direction: 'up', most: 40 },
  { type: 'output_ack', direction: 'down', most: 30 },
  { type: 'complete', direction: 'up', most: 30 },
  { type: 'completed', direction: 'down', most: 30 },
  { type: 'heartbeat', direction: 'up', most: 6 },
  { type: 'heartbeat_ack', direction: 'down', most: 6 },
];

/** Status changes that a round should provoke, and the faults that should be in force meanwhile. */
export interface Aim {
  shape: ShapeName;
  faults: readonly FaultKind[];
}

export interface PlanOptions {
  /** The kinds to choose from. */
  only?: readonly FaultKind[] | undefined;
  aim?: Aim | undefined;
}

export function planRound(
  seed: number,
  round: number,
  { only = faultKinds, aim }: PlanOptions = {},
): RoundPlan {
  const random = new Prng(seed, round);
  if (aim !== undefined) return planAimed(random, aim);
  const faults = Array.from({ length: random.between(3, 5) }, () => planFault(random, only));
  const isGone = faults.some(({ kind }) => kind === 'agent-gone');
  const runs = fillUp(random, isGone ? [longRun(0)] : []);
  // With numbers of their own, so that a round is otherwise what it was before hosts could be cancelled.
  const others = new Prng(seed, round, 'hosts');
  return { runs: runs.map((run) => cancelHosts(others, run)), faults, gate: undefined };
}

/** A person cancels hosts of half of the runs, most of them while a command hangs there; some again by force. */
function cancelHosts(random: Prng, run: PlannedRun): PlannedRun {
  if (random.chance(0.5)) return run;
  const first = random.between(0, run.targets - 1);
  const second = random.between(0, run.targets - 1);
  const hosts = random.chance(0.3) ? new Set([first, second]) : new Set([first]);
  const hostCancels = [...hosts].flatMap((host) => {
    const cancel = { host, moment: planMoment(random, 2_500), isForced: random.chance(0.25) };
    const again = { host, moment: planMoment(random, 2_500), isForced: true };
    return random.chance(0.2) ? [cancel, again] : [cancel];
  });
  const steps = run.steps.map((step) => {
    const mayHang = step.rules.when_status === undefined && step.timeout === undefined;
    return mayHang && random.chance(0.6) ? { ...step, hangsOn: [...hosts] } : step;
  });
  return { ...run, steps, hostCancels };
}

function planAimed(random: Prng, { shape, faults }: Aim): RoundPlan {
  const { runs, helpers, moment, gate } = shapeOf(shape);
  const aimed = faults.flatMap((kind) =>
    timesOf(kind).map(
      (afterMs): PlannedFault => ({
        ...planFault(random, [kind]),
        moment: after(moment, afterMs === 0 ? 0 : random.between(afterMs - 700, afterMs)),
      }),
    ),
  );
  // Runs that only fill up the number of steps start after the others have begun.
  const all = fillUp(random, runs).map((run, at) =>
    at < runs.length ? run : { ...run, startMs: run.startMs + 3_000 },
  );
  return { runs: all, faults: [...helpers, ...aimed], gate };
}

/** Short faults are repeated, so that each is in force for most of the time in which changes occur. */
function timesOf(kind: FaultKind): readonly number[] {
  switch (kind) {
    case 'agent-disk-lost':
    case 'agent-gone':
    case 'database-restored':
    case 'standby-promoted':
      return [0];
    case 'agent-killed':
    case 'server-killed':
    case 'postgres-killed':
    case 'postgres-stopped':
    case 'database-outage':
    case 'suspended':
      return [0, 5_000];
    case 'clock-stepped':
    case 'target-cut':
    case 'frames-delayed':
    case 'frames-duplicated':
    case 'frames-reordered':
      return [0, 2_200, 4_400, 6_600, 8_800];
    default:
      return [0, 3_000, 6_000];
  }
}

function fillUp(random: Prng, begin: readonly PlannedRun[]): PlannedRun[] {
  const runs = [...begin];
  const countOf = ({ targets, steps }: PlannedRun) => targets * steps.length;
  for (let steps = runs.reduce((sum, run) => sum + countOf(run), 0); steps < minSteps; ) {
    const run = planRun(random);
    runs.push(run);
    steps += countOf(run);
  }
  return runs;
}

function planRun(random: Prng): PlannedRun {
  const targets = random.pick([1, 1, 2, 2, 3, maxTargets]);
  const isCancelled = random.chance(0.2);
  const steps = Array.from({ length: random.between(1, 5) }, (_, at) => planStep(random, at, isCancelled));
  return {
    startMs: random.chance(0.7) ? random.between(0, 300) : random.between(300, 2_000),
    startAt: undefined,
    targets,
    steps,
    job: planJob(random, targets),
    cancel: isCancelled ? planMoment(random, 2_500) : undefined,
    isForced: random.chance(0.25),
    hostCancels: [],
    decision: random.pick(['succeeded', 'failed', 'retry', 'cancel'] as const),
    decideAt: undefined,
    isUnnoted: false,
  };
}

function planJob(random: Prng, targets: number): Record<string, unknown> {
  const job: Record<string, unknown> = {};
  if (targets > 1 && random.chance(0.35)) {
    job.strategy = {
      max_parallel: random.between(1, targets),
      max_failures: random.between(0, 1),
      ...(random.chance(0.3) ? { batches: [1, 2] } : {}),
    };
  }
  if (random.chance(0.25)) {
    const isExclusive = random.chance(0.5);
    job.locks = [
      {
        name: random.pick(['one', 'two']),
        mode: isExclusive ? 'exclusive' : 'shared',
        per: random.pick(['target', 'installation', 'segment']),
        ...(!isExclusive && random.chance(0.5) ? { slots: 2 } : {}),
      },
    ];
  }
  if (random.chance(0.2)) job.priority = random.between(-5, 5);
  return job;
}

function planStep(random: Prng, at: number, isCancelled: boolean): PlannedStep {
  const isTimedOut = random.chance(0.04);
  const rules: Record<string, unknown> = {};
  const onUnknown = random.next();
  if (onUnknown < 0.3) Object.assign(rules, { on_unknown: 'retry', idempotent: true });
  else if (onUnknown < 0.45) rules.on_unknown = 'hold';
  if (random.chance(0.2)) rules.retry = { attempts: random.between(2, 3), delay: random.pick([0, 0.3]) };
  if (at > 0 && random.chance(0.2)) rules.when_status = random.pick(['failure', 'always']);
  return {
    output: planOutput(random),
    exitCode: random.chance(0.08) ? 3 : 0,
    isGated: false,
    // Steps that run after a failure are not stopped by a cancel.
    sleepS: isTimedOut
      ? 60
      : isCancelled && rules.when_status === undefined && random.chance(0.4)
        ? 120
        : random.chance(0.15)
          ? 1
          : 0,
    hangsOn: [],
    timeout: isTimedOut ? 1 : undefined,
    survives: random.chance(0.2),
    rules,
  };
}

function planOutput(random: Prng): PlannedStep['output'] {
  const kind = random.next();
  if (kind < 0.5) return { kind: 'small', lines: random.between(1, 5) };
  if (kind < 0.7) return { kind: 'both', lines: random.between(1, 8) };
  if (kind < 0.9) return { kind: 'drip', lines: random.between(2, 6) };
  const bytes = random.between(200_000, 2_000_000);
  return { kind: 'large', from: random.between(0, blobBytes - bytes), bytes };
}

function planFault(random: Prng, only: readonly FaultKind[]): PlannedFault {
  const kind = random.pick(only);
  return {
    kind,
    moment: planMoment(random, 2_000),
    forMs: forMsOf(kind, random),
    until: undefined,
    member: random.between(0, (isOfServer(kind) ? servers : agents) - 1),
    direction: random.pick(['up', 'down', 'both'] as const),
    amountMs: amountMsOf(kind, random),
    gone: random.pick(['agent', 'server', undefined]),
  };
}

/** Otherwise it affects an agent, or the only database. */
function isOfServer(kind: FaultKind): boolean {
  return kind === 'server-killed' || kind === 'server-stopped' || kind === 'database-cut';
}

function forMsOf(kind: FaultKind, random: Prng): number {
  switch (kind) {
    // Longer than the lease TTL.
    case 'database-outage':
    case 'suspended':
      return random.between(2_300, 4_000);
    // They end by themselves.
    case 'clock-stepped':
    case 'target-cut':
    case 'postgres-killed':
    case 'database-cut':
    case 'standby-promoted':
      return 0;
    // Longer than it takes until other agents are asked to take over what it began.
    case 'agent-gone':
      return random.between(11_000, 14_000);
    // How much is lost.
    case 'database-restored':
      return random.between(200, 1_500);
    case 'frames-delayed':
    case 'frames-duplicated':
    case 'frames-reordered':
      return random.between(1_000, 3_000);
    default:
      // One in three outlasts the TTL, and a few of those outlast `unknown_after`.
      return random.chance(0.33) ? random.between(2_100, 5_500) : random.between(50, 1_500);
  }
}

function amountMsOf(kind: FaultKind, random: Prng): number {
  if (kind === 'clock-stepped') return random.pick([-1, 1]) * random.between(1_000, 3_600_000);
  return random.between(20, 600);
}

function planMoment(random: Prng, mostMs: number): Moment {
  const which = random.next();
  if (which < 0.25) return { at: 'time', ms: random.between(0, mostMs) };
  if (which < 0.45) return { at: 'line', nth: random.between(1, 35) };
  const { type, direction, most } = random.pick(frames);
  const when = random.pick(['before', 'after'] as const);
  return { at: 'frame', type, direction, nth: random.between(1, most), when };
}
