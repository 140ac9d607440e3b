// The mock API's answers about what follows an attempt: decisions, attempts, batches and reruns, with runs to try them
// on.
import {
  type Attempt,
  decisionConsequences,
  type HeldGroup,
  type RunDetail,
  type RunExplanation,
  type Step,
  type TargetRun,
  type Wait,
} from '@opsconductor/protocol';
import { ago, startedAt } from './fixtures.ts';

export interface MockRun {
  run: RunDetail;
  targetRuns: TargetRun[];
  steps: Step[];
}

const minute = 60_000;
const strategy = {
  maxParallel: 8,
  batches: [] as number[],
  maxFailures: 2,
  batchMaxFailures: null,
  order: 'selection' as const,
  seed: null,
  onExceeded: 'stop' as const,
  opened: 21,
  batch: null as number | null,
  haltedReason: null as string | null,
};

/** Gives the runs something to show: strategies, locks, a halt, a cancel, attempts, hosts and agents that are silent. */
export function arrangeOutcomes(runs: Map<number, MockRun>): void {
  const change = (id: number, fields: Partial<RunDetail>) => Object.assign(runs.get(id)?.run ?? {}, fields);
  const locks = [{ name: 'lb-pool', mode: 'shared' as const, slots: 8, per: 'segment' as const }];
  change(4127, { strategy: { ...strategy }, locks, priority: 20, timeoutS: 7200 });
  change(5000, {
    strategy: { ...strategy, batches: [24, 240], maxParallel: 100, maxFailures: 24, opened: 1539, batch: 7 },
  });
  for (const [at, step] of (runs.get(5000)?.steps ?? []).entries()) {
    if (step.status === 'held' && at % 5 === 0) step.agentName = 'core-2-d';
    if (step.status === 'held' && at % 7 === 0) step.reason = 'agent_restarted';
  }
  change(6300, {
    strategy: {
      ...strategy,
      batches: [2, 4, 6],
      maxFailures: 1,
      opened: 12,
      batch: 3,
      haltedReason: '5 of 24 targets failed; at most 1 may.',
    },
    rerunOf: 4003,
    reruns: [6400],
    lateResults: 1,
    errorMessage: '5 of 24 targets failed; at most 1 may.',
  });
  change(6400, { cancelRequestedAt: ago(3 * minute), cancelRequestedBy: 'admin', rerunOf: 6300 });
  change(6600, { status: 'queued', startedAt: null });
  for (const { step } of runningSteps(runs.get(6700)).slice(3)) step.agentName = 'dmz-1-b';
  for (const step of runs.get(6500)?.steps ?? []) {
    if (step.stepNumber !== 3 || step.status !== 'running') continue;
    step.attempt = 3;
    if (step.targetRunId % 3 !== 0) continue;
    Object.assign(step, {
      status: 'ready',
      attempt: 2,
      agentName: null,
      notBefore: new Date(startedAt + 4 * minute).toISOString(),
      advice: 'Try 2 of 5 ended failed: The command ended with exit code 100.',
      outputState: 'complete',
    });
  }
}

export function outcomesAnswer(
  method: string,
  rest: string,
  found: MockRun,
  { mayDecide }: { mayDecide: boolean },
): { status: number; body: unknown } | undefined {
  if (rest === '/decisions' && method === 'GET') {
    return { status: 200, body: { groups: heldGroups(found), mayDecide } };
  }
  if (rest === '/decisions') return stale(found);
  if (rest === '/explain') return { status: 200, body: explanationOf(found) };
  if (rest === '/rerun') return { status: 201, body: found.run };
  const step = /^\/steps\/(\d+)\/attempts$/.exec(rest)?.[1];
  if (step === undefined) return undefined;
  return { status: 200, body: { items: attemptsOf(found.steps.find(({ id }) => id === Number(step))) } };
}

function heldGroups({ run, targetRuns, steps }: MockRun): HeldGroup[] {
  const names = new Map(targetRuns.map(({ id, targetName }) => [id, targetName]));
  const groups = new Map<string, Step[]>();
  for (const step of steps.filter(({ status }) => status === 'held')) {
    const key = `${step.stepNumber} ${step.agentName} ${step.reason}`;
    groups.set(key, [...(groups.get(key) ?? []), step]);
  }
  return [...groups.values()].flatMap((held) => {
    const [first] = held;
    if (first === undefined) return [];
    return [
      {
        stepNumber: first.stepNumber,
        stepName: first.name,
        agentName: first.agentName,
        reason: first.reason,
        count: held.length,
        message: first.errorMessage,
        heldUntil: first.heldUntil ?? '',
        consequences: decisionConsequences({
          count: held.length,
          stepNumber: first.stepNumber,
          followers: run.steps.length - first.stepNumber,
          cleaners: 0,
          idempotent: false,
        }),
        steps: held.slice(0, 100).map((step) => ({
          id: step.id,
          attempt: step.attempt,
          targetRunId: step.targetRunId,
          targetName: names.get(step.targetRunId) ?? '',
          heldUntil: step.heldUntil ?? '',
        })),
      },
    ];
  });
}

/** Refuses any decision, as if somebody else had decided first. */
function stale({ targetRuns }: MockRun) {
  const message = `Step 3 on “${targetRuns[0]?.targetName ?? ''}” is succeeded now, with attempt 1.`;
  const details = [{ path: 'steps[0]', message, found: 'attempt 1' }];
  return { status: 409, body: { error: { code: 'conflict', message, requestId: 'req_7f3c91ae', details } } };
}

function attemptsOf(step: Step | undefined): Attempt[] {
  if (step === undefined) return [];
  return Array.from({ length: step.attempt }, (_, at): Attempt => {
    const isLast = at + 1 === step.attempt && step.status !== 'ready';
    const isUnknown = step.status === 'unknown' || step.status === 'held';
    return {
      attempt: at + 1,
      status: isLast ? (isUnknown ? 'unknown' : (step.status as Attempt['status'])) : 'failed',
      agentName: at % 2 === 0 ? 'dmz-1-a' : 'dmz-1-b',
      leasedAt: ago((9 - at) * minute),
      startedAt: ago((9 - at) * minute),
      endedAt: ago((8 - at) * minute),
      executionTimeMs: 41_000,
      exitCode: isLast ? step.exitCode : 100,
      signal: null,
      reason: isLast ? step.reason : 'exit_code',
      message: isLast ? step.errorMessage : 'The command ended with exit code 100.',
      advice: null,
      survivors: step.survivors,
      outputState: 'complete',
      outputBytes: 9_400,
      late: step.status === 'unknown' ? { status: 'succeeded', at: ago(minute) } : null,
      decision: null,
      cleanUp: isUnknown && isLast ? { state: 'waits', found: null, survivors: [], at: null } : null,
    };
  });
}

function explanationOf({ run, targetRuns, steps }: MockRun): RunExplanation {
  const of = (status: string) =>
    targetRuns
      .filter((one) => one.status === status)
      .map(({ id, targetName }) => ({ targetRunId: id, targetName }));
  const explained = {
    runId: run.id,
    at: new Date().toISOString(),
    startBy: run.startedAt === null ? run.startBy : null,
    timeoutAt: null,
    haltedReason: null,
  };
  const wait: WaitMaker = (fields, hosts) => ({
    advice: null,
    since: null,
    until: null,
    targets: hosts.length,
    examples: hosts.slice(0, 5),
    segmentId: null,
    segmentName: null,
    agentName: null,
    lockName: null,
    runs: [],
    ...fields,
  });
  const queued = of('queued');
  const offline = {
    code: 'agents_offline' as const,
    message: 'None of the 2 agents in segment “dmz-1” can be given steps: 2 offline.',
    advice: 'Start an agent of the segment, or find out why it can’t connect.',
    since: ago(40 * minute),
    segmentId: 1,
    segmentName: 'dmz-1',
  };
  const parallel = {
    code: 'max_parallel' as const,
    message: '8 targets run at a time (max_parallel): the next begins when one ends.',
  };
  const lock = {
    code: 'lock' as const,
    message: 'Lock “lb-pool” of segment “core-2” is held by run 6400.',
    since: ago(5 * minute),
    lockName: 'lb-pool',
    runs: [6400],
  };
  const decision = {
    code: 'decision' as const,
    message:
      'What happened on the host isn’t known. The step waits for a decision; without one it ends unknown.',
    until: new Date(startedAt + 57 * minute).toISOString(),
  };
  if (run.id === 6700) return { ...explained, waits: silentWaits({ run, targetRuns, steps }, wait) };
  const waits =
    run.strategy === null
      ? [wait(offline, queued)]
      : [wait(parallel, queued.slice(1)), wait(lock, queued.slice(0, 1)), wait(decision, of('held'))];
  return { ...explained, waits: waits.filter(({ targets }) => targets > 0) };
}

type WaitMaker = (fields: Partial<Wait> & Pick<Wait, 'code' | 'message'>, hosts: Wait['examples']) => Wait;

/** Of run 6700: hosts that do not answer their agent, and an agent that the server has no contact with. */
function silentWaits(found: MockRun, wait: WaitMaker): Wait[] {
  const running = runningSteps(found).map(({ step, host }) => ({
    agentName: step.agentName,
    example: { targetRunId: host.id, targetName: host.targetName },
  }));
  const of = (agent: string) =>
    running.filter(({ agentName }) => agentName === agent).map(({ example }) => example);
  const dmz = { segmentId: 1, segmentName: 'dmz-1' };
  return [
    wait(
      {
        ...dmz,
        code: 'target_silent',
        message:
          'The host does not answer agent “dmz-1-a”. The command may be going on there. The agent keeps asking, and reads on where it was once the host answers; if it does not in time, the step ends unknown.',
        advice: 'Look at the host’s console and the network to it, or cancel the host.',
        since: ago(2 * minute),
        until: new Date(startedAt + 26 * minute).toISOString(),
        agentName: 'dmz-1-a',
      },
      of('dmz-1-a').slice(0, 2),
    ),
    wait(
      {
        ...dmz,
        code: 'agent_unheard',
        message:
          'Agent “dmz-1-b” has the step, but has lost contact with the server. If it isn’t back in time, the step is given up.',
        advice: 'Check the agent’s host and its network.',
        since: ago(minute),
        until: new Date(startedAt + 4 * minute).toISOString(),
        agentName: 'dmz-1-b',
      },
      of('dmz-1-b'),
    ),
  ];
}

function runningSteps(found: MockRun | undefined): { step: Step; host: TargetRun }[] {
  const hosts = new Map(found?.targetRuns.map((one) => [one.id, one]));
  return (found?.steps ?? []).flatMap((step) => {
    const host = hosts.get(step.targetRunId);
    return step.status !== 'running' || host === undefined ? [] : [{ step, host }];
  });
}
