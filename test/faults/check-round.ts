// What must hold after every round, whatever was done to the system in it.
import { aggregateRun, isRunEnded, isStepEnded, mayBecome } from '@opsconductor/protocol';
import type { FaultKind } from './plan-round.ts';
import type { AttemptFacts, RoundFacts, RunFacts, StepFacts } from './round-facts.ts';

export interface Violation {
  rule: string;
  text: string;
  runId?: number;
  stepId?: number;
}

/** Reasons that are true only where something was done that leads to them. */
const causes: Record<string, readonly FaultKind[]> = {
  agent_restarted: ['agent-killed', 'agent-disk-lost'],
  connection_lost: ['target-cut', 'agent-stopped', 'suspended'],
  unreachable: ['target-cut', 'agent-stopped', 'suspended'],
  channel_refused: ['target-cut', 'agent-stopped', 'suspended'],
  connect_timed_out: ['target-cut', 'agent-stopped', 'suspended'],
  connection_refused: ['target-cut'],
};
/** These come from the plan alone, or from any fault that silences an agent. */
const plainReasons: ReadonlySet<string> = new Set([
  'exit_code',
  'timed_out',
  'cancelled',
  'cancel_unconfirmed',
  'agent_silent',
  'predecessor',
  'when_status',
  'decided',
  'cancel_forced',
  'lease_expired',
]);
/** With these the command never began. */
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
    ...facts.steps.flatMap((step) => [...checkLines(step), ...checkReasons(step, faults)]),
    ...facts.edges
      .filter(({ kind, from, to }) => !mayBecome(kind as 'step', from as 'ready', to as 'ready'))
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
  ];
}

function checkRun(run: RunFacts, { steps }: RoundFacts): Violation[] {
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
  checkOutcome(run, say);
  checkEvents(run, own, say);
  return found;
}

function checkOutcome(run: RunFacts, say: (rule: string, text: string) => void): void {
  const { succeeded = 0, failed = 0, cancelled = 0, timed_out: timedOut = 0, unknown = 0 } = run.counts;
  const counts = { succeeded, failed, cancelled, timedOut, unknown };
  const { maxFailures } = run;
  // Between a cancel and its end every other target run may have ended by itself.
  const allowed = [false, run.cancelRequestedAt !== null].map((cancelling) =>
    aggregateRun(counts, { maxFailures, cancelling }),
  );
  if (!allowed.includes(run.status as 'failed'))
    say('outcome', `is ${run.status} with ${JSON.stringify(run.counts)}, max_failures ${maxFailures}`);
}

/** A reader who follows the events must come to see what the tables say. */
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

function checkLines(step: StepFacts): Violation[] {
  const found: Violation[] = [];
  const say = (rule: string, text: string) =>
    found.push({ rule, text: `step ${step.id}: ${text}`, runId: step.jobRunId, stepId: step.id });
  const { lines, attempts, planned } = step;
  for (const epoch of new Set(lines)) {
    const times = lines.filter((each) => each === epoch).length;
    if (times > 1) say('once', `attempt ${epoch} began ${times} times`);
    const attempt = attempts.find((each) => each.epoch === epoch);
    if (attempt === undefined) say('once', `attempt ${epoch} began on the target and is not in the books`);
    else if (attempt.reason !== null && neverBegan.has(attempt.reason) && attempt.lateStatus === null)
      say('reason', `attempt ${epoch} began on the target and is called ${attempt.reason}`);
  }
  const isDecided = attempts.some(({ decision }) => decision === 'retry');
  const mayRepeat = planned.rules.retry !== undefined || planned.rules.on_unknown === 'retry' || isDecided;
  if (!mayRepeat && lines.length > 1) say('once', `it began ${lines.length} times and may not be repeated`);
  const unknown = attempts.find(({ status, decision }) => status === 'unknown' && decision !== 'retry');
  if (
    unknown !== undefined &&
    planned.rules.idempotent !== true &&
    lines.some((epoch) => epoch > unknown.epoch)
  )
    say('once', `it began again after attempt ${unknown.epoch} was unknown`);
  for (const { epoch, status, exitCode } of attempts) {
    if (exitCode !== null && !lines.includes(epoch))
      say('once', `attempt ${epoch} is ${status} and never began`);
  }
  return found;
}

function checkReasons(step: StepFacts, faults: ReadonlySet<FaultKind>): Violation[] {
  const found: Violation[] = [];
  const say = (text: string) =>
    found.push({ rule: 'reason', text: `step ${step.id}: ${text}`, runId: step.jobRunId, stepId: step.id });
  for (const attempt of step.attempts) {
    const { epoch, reason, status } = attempt;
    if (status === 'unknown' && reason === null) say(`attempt ${epoch} is unknown and nothing says why`);
    if (reason === null || plainReasons.has(reason)) continue;
    const possible = causes[reason];
    if (possible === undefined) say(`attempt ${epoch} is ${status}, ${reason}: ${attempt.message}`);
    else if (!possible.some((kind) => faults.has(kind)))
      say(`attempt ${epoch} is called ${reason} and nothing of the kind was done: ${attempt.message}`);
  }
  return [...found, ...checkEnds(step)];
}

function checkEnds(step: StepFacts): Violation[] {
  const { planned, attempts } = step;
  const wrong = (attempt: AttemptFacts): string | undefined => {
    if (attempt.exitCode !== null && attempt.exitCode !== planned.exitCode)
      return `exit code ${attempt.exitCode} instead of ${planned.exitCode}`;
    if (attempt.status === 'succeeded' && planned.exitCode !== 0) return 'succeeded though it was to fail';
    if (attempt.status === 'timed_out' && planned.timeout === undefined) return 'timed out without a timeout';
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

/** Open target runs of a run at any time, by the order in which they changed. */
function checkParallel({ runs, edges, steps }: RoundFacts): Violation[] {
  return runs.flatMap((run) => {
    const most = maxParallelOf(run, steps);
    if (most === undefined) return [];
    const open = new Set<number>();
    for (const edge of edges) {
      if (edge.kind !== 'target_run' || edge.runId !== run.id) continue;
      // One that a late result reopens goes on beside those that were opened since.
      if (edge.to === 'running' && edge.from !== 'unknown') open.add(edge.rowId);
      else if (isRunEnded(edge.to as 'failed')) open.delete(edge.rowId);
      if (open.size > most)
        return [
          {
            rule: 'parallel',
            text: `run ${run.id}: ${open.size} targets at a time instead of ${most}`,
            runId: run.id,
          },
        ];
    }
    return [];
  });
}

function maxParallelOf(run: RunFacts, steps: readonly StepFacts[]): number | undefined {
  return steps.find(({ jobRunId }) => jobRunId === run.id)?.maxParallel;
}
