// What must hold after every round, whatever was done to the system in it.
import { aggregateRun, isRunEnded, isStepEnded, mayBecome } from '@opsconductor/protocol';
import { neverMet } from './choose-aim.ts';
import type { Edge } from './edge-recorder.ts';
import { type FaultKind, faultKinds, type PlannedRun, type PlannedStep } from './plan-round.ts';
import type { AttemptFacts, RoundFacts, RunFacts, StepFacts } from './round-facts.ts';

export interface Violation {
  rule: string;
  text: string;
  runId?: number;
  stepId?: number;
}

/** Faults that keep an agent from being heard. */
const silencing: readonly FaultKind[] = faultKinds.filter(
  (kind) => kind !== 'clock-stepped' && kind !== 'target-cut' && kind !== 'database-cut',
);

const endingAgents: readonly FaultKind[] = ['agent-killed', 'agent-disk-lost', 'agent-gone'];

/** Reasons that can only be true if one of these faults occurred. */
const causes: Record<string, readonly FaultKind[]> = {
  agent_silent: silencing,
  database_restored: ['database-restored'],
  lease_expired: [...silencing, 'clock-stepped', 'database-cut'],
  agent_restarted: endingAgents,
  connection_lost: ['target-cut', 'agent-stopped', 'suspended'],
  unreachable: ['target-cut', 'agent-stopped', 'suspended'],
  channel_refused: ['target-cut', 'agent-stopped', 'suspended'],
  connect_timed_out: ['target-cut', 'agent-stopped', 'suspended'],
  connection_refused: ['target-cut'],
};
/** What was asked of a step's host. */
interface HostCancel {
  /** By itself or with its run. A run that waits for the lock of an unknown attempt is also cancelled. */
  isCancelled: boolean;
  mayBeForced: boolean;
}

function cancelOf(run: RunFacts, targetRunId: number): HostCancel {
  const own = run.targetRuns.find(({ id }) => id === targetRunId);
  const isForced = run.planned.hostCancels.some((cancel) => cancel.isForced && cancel.host === own?.host);
  const isCancelled = run.cancelRequestedAt !== null || (own !== undefined && own.cancelRequestedAt !== null);
  return { isCancelled, mayBeForced: run.planned.isForced || isForced };
}

/** Reasons that follow from the plan alone. */
const planned: Record<string, (run: PlannedRun, step: PlannedStep, cancel: HostCancel) => boolean> = {
  exit_code: (_, step) => step.exitCode !== 0,
  timed_out: (_, step) => step.timeout !== undefined,
  run_timeout: (run) => run.job.timeout !== undefined,
  condition_false: (_, step) => step.rules.when !== undefined,
  cancelled: (_, __, { isCancelled }) => isCancelled,
  cancel_unconfirmed: (_, __, { isCancelled }) => isCancelled,
  cancel_forced: (_, __, { mayBeForced }) => mayBeForced,
  decided: (_, step) => step.rules.on_unknown === 'hold',
  predecessor: () => true,
  when_status: () => true,
};
/** With these reasons, the command never began. */
const neverBegan: ReadonlySet<string> = new Set([
  'unreachable',
  'name_not_found',
  'connection_refused',
  'connect_timed_out',
  'channel_refused',
  'auth_failed',
  'invalid_config',
  'credential_bounds',
  'credential_unusable',
  'lease_expired',
]);

export function checkFacts(facts: RoundFacts, faults: ReadonlySet<FaultKind>): Violation[] {
  return [
    ...facts.runs.flatMap((run) => checkRun(run, facts)),
    ...facts.steps.flatMap((step) => [...checkLines(step, facts), ...checkReasons(step, facts, faults)]),
    ...facts.edges
      .filter((edge) => !mayComeAbout(edge))
      .map(({ kind, rowId, runId, from, to }) => ({
        rule: 'edges',
        text: `${kind} ${rowId} went from ${from} to ${to}`,
        runId,
      })),
    ...facts.heldLocks.map(({ lockKey, targetRunId }) => ({
      rule: 'locks',
      text: `target run ${targetRunId} has ended and holds ${lockKey}`,
    })),
    ...checkParallel(facts),
    ...checkOrder(facts),
    ...checkBegun(facts),
  ];
}

function mayComeAbout({ kind, from, to }: Edge): boolean {
  const isInTable = mayBecome(kind as 'step', from as 'ready', to as 'ready');
  return isInTable && neverMet[`${kind} ${from}>${to}`] === undefined;
}

function checkRun(run: RunFacts, { steps, isRestored }: RoundFacts): Violation[] {
  const found: Violation[] = [];
  const say = (rule: string, text: string) =>
    found.push({ rule, text: `run ${run.id}: ${text}`, runId: run.id });
  const own = steps.filter(({ jobRunId }) => jobRunId === run.id);
  if (!isRunEnded(run.status as 'failed')) {
    say('ends', `is ${run.status}`);
    return found;
  }
  const open = own.filter(({ status }) => !isStepEnded(status as 'failed'));
  if (open.length > 0)
    say('ends', `has ended and its steps ${open.map(({ id, status }) => `${id} ${status}`)} have not`);
  for (const status of Object.keys(run.counts)) {
    const there = run.targetRuns.filter((target) => target.status === status).length;
    if (there !== run.counts[status])
      say('counters', `counts ${run.counts[status]} target runs ${status}, there are ${there}`);
  }
  const ended = own.length - open.length;
  if (run.completedSteps !== ended)
    say('counters', `counts ${run.completedSteps} ended steps, there are ${ended}`);
  checkOutcome(run, isRestored, say);
  checkEvents(run, own, say);
  return found;
}

function checkOutcome(run: RunFacts, isRestored: boolean, say: (rule: string, text: string) => void): void {
  const { succeeded = 0, failed = 0, cancelled = 0, timed_out: timedOut = 0, unknown = 0 } = run.counts;
  const counts = { succeeded, failed, cancelled, timedOut, unknown };
  const { maxFailures } = run;
  // Between a cancel and its end, all other target runs may have ended by themselves.
  const mayTimeOut = run.planned.job.timeout !== undefined;
  const halted = run.isHalted;
  const allowed = [false, isRestored || run.cancelRequestedAt !== null].flatMap((cancelling) => [
    aggregateRun(counts, { maxFailures, cancelling, halted }),
    aggregateRun(counts, { maxFailures, cancelling, halted, timedOut: mayTimeOut }),
  ]);
  if (!allowed.includes(run.status as 'failed'))
    say('outcome', `is ${run.status} with ${JSON.stringify(run.counts)}, max_failures ${maxFailures}`);
}

/** A reader who follows the events must end up with the same state as the tables. */
function checkEvents(
  run: RunFacts,
  steps: readonly StepFacts[],
  say: (rule: string, text: string) => void,
): void {
  const last = new Map<number, string>();
  let status: string | undefined;
  for (const [at, { seq, change }] of run.events.entries()) {
    if (seq !== at + 1) {
      say('events', `event ${seq} stands where ${at + 1} belongs`);
      return;
    }
    status = change.run?.status ?? status;
    for (const step of change.steps ?? []) if (step.status !== undefined) last.set(step.id, step.status);
  }
  if (run.events.length !== run.eventSeq)
    say('events', `${run.events.length} events, numbered to ${run.eventSeq}`);
  if (status !== run.status) say('events', `the events end with ${status}, the run is ${run.status}`);
  for (const step of steps) {
    const told = last.get(step.id);
    if (told !== undefined && told !== step.status)
      say('events', `the events end with step ${step.id} ${told}, it is ${step.status}`);
    if (told === undefined && step.epoch > 0)
      say('events', `no event tells of step ${step.id}, which is ${step.status}`);
  }
}

function checkLines(step: StepFacts, { edges, runs, isRestored }: RoundFacts): Violation[] {
  const found: Violation[] = [];
  const say = (rule: string, text: string) =>
    found.push({ rule, text: `step ${step.id}: ${text}`, runId: step.jobRunId, stepId: step.id });
  const { lines, attempts, planned } = step;
  for (const epoch of new Set(lines)) {
    const times = lines.filter((each) => each === epoch).length;
    if (times > 1) say('once', `attempt ${epoch} began ${times} times`);
    const attempt = attempts.find((each) => each.epoch === epoch);
    if (attempt === undefined) {
      // The database knows nothing about the lost period.
      if (!isRestored) say('once', `attempt ${epoch} began on the target and is not in the books`);
    } else if (attempt.reason !== null && neverBegan.has(attempt.reason) && attempt.lateStatus === null)
      say('reason', `attempt ${epoch} began on the target and is called ${attempt.reason}`);
  }
  const isDecided = attempts.some(({ decision }) => decision === 'retry');
  // The database doesn't know what a person decided in the lost period.
  const run = runs.find(({ id }) => id === step.jobRunId);
  const mayBeDecided = isRestored && run !== undefined && mayRepeat(run.planned, planned);
  const isRepeatable = planned.rules.retry !== undefined || planned.rules.on_unknown === 'retry';
  if (!isRepeatable && !isDecided && !mayBeDecided && lines.length > 1)
    say('once', `it began ${lines.length} times and may not be repeated`);
  for (const { epoch, status, decision } of attempts) {
    if (status !== 'unknown' || decision === 'retry' || planned.rules.idempotent === true) continue;
    if (isRestored) continue;
    // A late result said how it ended, and so allowed another try.
    const wasTold = edges.some(
      (edge) =>
        edge.kind === 'step' &&
        edge.rowId === step.id &&
        edge.epoch === epoch &&
        (edge.from === 'unknown' || edge.from === 'held') &&
        edge.to === 'ready',
    );
    if (!wasTold && lines.some((other) => other > epoch))
      say('once', `it began again after attempt ${epoch} was unknown`);
  }
  for (const { epoch, status, exitCode } of attempts) {
    if (exitCode !== null && !lines.includes(epoch))
      say('once', `attempt ${epoch} is ${status} and never began`);
  }
  return found;
}

/** Even with everything lost and forgotten, a step that must not be repeated has begun at most once on each target. */
function checkBegun({ all, begun }: RoundFacts): Violation[] {
  const repeatable = new Set(
    all.flatMap(({ planned: run, keys }) => keys.filter((_, at) => mayRepeat(run, run.steps[at]))),
  );
  return begun
    .filter(({ key, times }) => times > 1 && !repeatable.has(key))
    .map(({ file, times }) => ({ rule: 'once', text: `${file}: it began ${times} times` }));
}

function mayRepeat(run: PlannedRun, step: PlannedStep | undefined): boolean {
  const { retry, on_unknown: onUnknown } = step?.rules ?? {};
  return retry !== undefined || onUnknown === 'retry' || (onUnknown === 'hold' && run.decision === 'retry');
}

function checkReasons(step: StepFacts, { runs }: RoundFacts, faults: ReadonlySet<FaultKind>): Violation[] {
  const found: Violation[] = [];
  const say = (text: string) =>
    found.push({ rule: 'reason', text: `step ${step.id}: ${text}`, runId: step.jobRunId, stepId: step.id });
  for (const attempt of step.attempts) {
    const { epoch, reason, status } = attempt;
    if (status === 'unknown' && reason === null) say(`attempt ${epoch} is unknown and nothing says why`);
    if (reason === null) continue;
    const run = runs.find(({ id }) => id === step.jobRunId);
    const isPlanned = planned[reason];
    if (isPlanned !== undefined) {
      if (run !== undefined && !isPlanned(run.planned, step.planned, cancelOf(run, step.targetRunId)))
        say(`attempt ${epoch} is called ${reason} and nothing of the kind was planned: ${attempt.message}`);
      continue;
    }
    const possible = causes[reason];
    if (possible === undefined) say(`attempt ${epoch} is ${status}, ${reason}: ${attempt.message}`);
    else if (!possible.some((kind) => faults.has(kind)) && !mayHaveBeenCutOff(attempt, step, faults))
      say(`attempt ${epoch} is called ${reason} and nothing of the kind was done: ${attempt.message}`);
  }
  return [...found, ...checkEnds(step, runs.find(({ id }) => id === step.jobRunId)?.planned)];
}

/** Whether the agent was gone before the code that starts a surviving command was on the target. */
function mayHaveBeenCutOff(
  { reason, exitCode }: AttemptFacts,
  { planned: { survives } }: StepFacts,
  faults: ReadonlySet<FaultKind>,
): boolean {
  const isGone = endingAgents.some((kind) => faults.has(kind));
  return reason === 'unreachable' && exitCode === null && survives && isGone;
}

function checkEnds(step: StepFacts, run: PlannedRun | undefined): Violation[] {
  const { planned, attempts } = step;
  const mayTimeOut = planned.timeout !== undefined || run?.job.timeout !== undefined;
  const wrong = (attempt: AttemptFacts): string | undefined => {
    if (attempt.exitCode !== null && attempt.exitCode !== planned.exitCode)
      return `exit code ${attempt.exitCode} instead of ${planned.exitCode}`;
    if (attempt.status === 'succeeded' && planned.exitCode !== 0) return 'succeeded though it was to fail';
    if (attempt.status === 'timed_out' && !mayTimeOut) return 'timed out without a timeout';
    return undefined;
  };
  return attempts.flatMap((attempt) => {
    const text = wrong(attempt);
    return text === undefined
      ? []
      : [
          {
            rule: 'outcome',
            text: `step ${step.id} attempt ${attempt.epoch}: ${text}`,
            runId: step.jobRunId,
            stepId: step.id,
          },
        ];
  });
}

/** A step begins only after the one before it has succeeded, unless what became of that one is unknown. */
function checkOrder({ runs, steps, isRestored }: RoundFacts): Violation[] {
  if (isRestored) return [];
  const isPlain = (runId: number) =>
    runs.find(({ id }) => id === runId)?.planned.steps.every(({ rules }) => Object.keys(rules).length === 0);
  const byPlace = new Map(steps.map((step) => [`${step.targetRunId}.${step.stepNumber}`, step]));
  return steps.flatMap((step) => {
    const before = byPlace.get(`${step.targetRunId}.${step.stepNumber - 1}`);
    if (before === undefined || step.lines.length === 0 || !isPlain(step.jobRunId)) return [];
    if (before.status === 'succeeded' || before.status === 'unknown') return [];
    const text = `step ${step.id} began although the one before it is ${before.status}`;
    return [{ rule: 'order', text, runId: step.jobRunId, stepId: step.id }];
  });
}

/**
 * When a target is opened, at most `max_parallel` are open, including that one. A target reopened by a late result
 * continues next to those opened since, and counts from then on.
 */
function checkParallel({ runs, edges, steps }: RoundFacts): Violation[] {
  return runs.flatMap((run) => {
    const own = steps.filter(({ jobRunId }) => jobRunId === run.id);
    const most = own[0]?.maxParallel;
    if (most === undefined) return [];
    const firstSteps = new Map(
      own.filter(({ stepNumber }) => stepNumber === 1).map(({ id, targetRunId }) => [id, targetRunId]),
    );
    const ofRun = edges.filter(({ runId }) => runId === run.id);
    const opensLater = ofRun.filter((edge) => isOpening(edge, firstSteps)).map(({ rowId }) => rowId);
    const begun = new Set(
      ofRun.filter(({ kind, from }) => kind === 'step' && from === 'ready').map(({ rowId }) => rowId),
    );
    const open = new Set(
      [...firstSteps].filter(([id]) => begun.has(id) && !opensLater.includes(id)).map(([, target]) => target),
    );
    const found: Violation[] = [];
    const say = (text: string) =>
      found.push({ rule: 'parallel', text: `run ${run.id}: ${text}`, runId: run.id });
    if (open.size > most) say(`${open.size} targets open from the start instead of ${most}`);
    for (const changes of byTransaction(ofRun)) {
      for (const { kind, rowId, from, to } of changes) {
        if (kind !== 'target_run') continue;
        if (isRunEnded(to as 'failed')) open.delete(rowId);
        else if (from === 'unknown') open.add(rowId);
      }
      for (const { rowId } of changes.filter((edge) => isOpening(edge, firstSteps))) {
        const target = firstSteps.get(rowId) ?? 0;
        open.add(target);
        if (open.size > most)
          say(`target run ${target} was opened beside ${open.size - 1}, ${most} may be open`);
      }
    }
    return found.slice(0, 1);
  });
}

/** Groups of edges in the order of their first change. */
function byTransaction(edges: readonly Edge[]): Edge[][] {
  const groups = new Map<string, Edge[]>();
  for (const edge of edges) groups.set(edge.transaction, [...(groups.get(edge.transaction) ?? []), edge]);
  return [...groups.values()];
}

function isOpening({ kind, rowId, from, to }: Edge, firstSteps: ReadonlyMap<number, number>): boolean {
  return kind === 'step' && from === 'pending' && to === 'ready' && firstSteps.has(rowId);
}
