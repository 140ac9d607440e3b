// The runs that the mock API serves: of any job, with as many hosts in each state as asked for.
import type { Job, RunDetail, RunStatus, Step, StepStatus, TargetRun } from '@opsconductor/protocol';
import { ago, jobs, startedAt, targets } from './fixtures.ts';

const minute = 60_000;

const stepStates: Record<string, StepStatus[]> = {
  succeeded: ['succeeded', 'succeeded', 'succeeded', 'succeeded'],
  failed: ['succeeded', 'failed', 'skipped', 'skipped'],
  unknown: ['succeeded', 'succeeded', 'unknown', 'skipped'],
  held: ['succeeded', 'succeeded', 'held', 'pending'],
  cancelling: ['succeeded', 'succeeded', 'running', 'pending'],
  running: ['succeeded', 'succeeded', 'running', 'pending'],
  queued: ['ready', 'pending', 'pending', 'pending'],
  timed_out: ['succeeded', 'timed_out', 'skipped', 'skipped'],
  cancelled: ['succeeded', 'succeeded', 'cancelled', 'skipped'],
};

function stateOf(status: string, index: number, steps: number): StepStatus {
  if (status === 'running' && steps === 1) return 'running';
  // A job with many steps is near its end.
  if (steps > 4) return stepStates[status]?.[index < steps - 3 ? 0 : index - steps + 4] ?? 'pending';
  return stepStates[status]?.[index] ?? 'pending';
}

/** Makes a run with its hosts; `counts` says how many are in which state. */
export function makeRun(
  id: number,
  jobAt: number,
  counts: Partial<Record<RunStatus, number>>,
  names: (at: number) => string,
) {
  const job = jobs[jobAt];
  if (job === undefined) throw new Error('no such job');
  const stepNames = job.definition.steps.map((step) => step.name);
  const targetRuns: TargetRun[] = [];
  const steps: Step[] = [];
  let at = 0;
  for (const [status, number] of Object.entries(counts)) {
    for (let nth = 0; nth < number; nth += 1, at += 1) {
      const name = names(at);
      const began = status === 'queued' ? null : ago(205_000 + nth * 14_000);
      targetRuns.push({
        id: id * 10_000 + at,
        targetId: (at % targets.length) + 1,
        targetName: name,
        segmentId: name.startsWith('core') ? 2 : 1,
        segmentName: name.startsWith('core') ? 'core-2' : 'dmz-1',
        status: status as RunStatus,
        startedAt: began,
        completedAt: ['succeeded', 'failed', 'timed_out', 'cancelled', 'unknown'].includes(status)
          ? ago(20_000 + nth * 900)
          : null,
        endReason: null,
      });
      stepNames.forEach((stepName, index) => {
        const state = stateOf(status, index, stepNames.length);
        steps.push(
          makeStep(id * 1_000_000 + at * 100 + index, id * 10_000 + at, index, stepName, state, nth),
        );
      });
    }
  }
  return { run: runOf(id, job, counts, targetRuns, steps), targetRuns, steps };
}

function makeStep(
  id: number,
  targetRunId: number,
  index: number,
  name: string,
  status: StepStatus,
  nth: number,
): Step {
  const begun = !['pending', 'ready', 'skipped'].includes(status);
  const failed = status === 'failed';
  return {
    id,
    targetRunId,
    stepNumber: index + 1,
    name,
    stepType: 'ssh.exec',
    status,
    attempt: begun ? 1 : 0,
    agentName: begun ? (status === 'held' || status === 'unknown' ? 'dmz-1-b' : 'dmz-1-a') : null,
    leasedAt: begun ? ago(184_000) : null,
    startedAt: begun ? ago(184_000 - nth * 9_000) : null,
    completedAt: begun && status !== 'running' ? ago(10_000) : null,
    executionTimeMs:
      begun && status !== 'running' ? ([2_100, 18_000, 191_000, 6_100][index % 4] ?? 0) + nth * 130 : null,
    exitCode: failed ? 5 : status === 'succeeded' ? 0 : null,
    signal: null,
    reason: failed
      ? 'exit_code'
      : status === 'unknown' || status === 'held'
        ? 'agent_silent'
        : status === 'timed_out'
          ? 'timed_out'
          : null,
    errorMessage: failed
      ? 'The command ended with exit code 5.'
      : status === 'unknown' || status === 'held'
        ? 'Agent dmz-1-b went silent while the step ran.'
        : null,
    advice: failed
      ? 'Look at the last lines of its output; codes that count as success are set in expected_exit_codes.'
      : null,
    survivors: [],
    notBefore: null,
    heldUntil: status === 'held' ? new Date(startedAt + 57 * minute + nth * 7_000).toISOString() : null,
    outputState: begun && status !== 'running' ? 'complete' : 'open',
    outputBytes: begun ? 9_400 - nth * 310 : 0,
    outputSeq: begun ? 3 : 0,
  };
}

function runOf(
  id: number,
  job: Job,
  counts: Partial<Record<RunStatus, number>>,
  targetRuns: TargetRun[],
  steps: Step[],
): RunDetail {
  const isOpen = (status: RunStatus) => (counts[status] ?? 0) > 0;
  const open = isOpen('running') || isOpen('queued') || isOpen('held') || isOpen('cancelling');
  return {
    id,
    jobId: job.id,
    jobName: job.name,
    jobVersion: job.version,
    versionRef: null,
    category: job.category,
    parameters: null,
    runReason: null,
    status: isOpen('cancelling')
      ? 'cancelling'
      : open
        ? 'running'
        : (counts.failed ?? 0) > 0
          ? 'failed'
          : (counts.cancelled ?? 0) > 0
            ? 'cancelled'
            : 'succeeded',
    outputState: open ? 'open' : 'complete',
    targetsTotal: targetRuns.length,
    targetsQueued: counts.queued ?? 0,
    targetsRunning: (counts.running ?? 0) + (counts.cancelling ?? 0),
    targetsHeld: counts.held ?? 0,
    targetsSucceeded: counts.succeeded ?? 0,
    targetsFailed: counts.failed ?? 0,
    targetsCancelled: counts.cancelled ?? 0,
    targetsTimedOut: counts.timed_out ?? 0,
    targetsUnknown: counts.unknown ?? 0,
    totalSteps: steps.length,
    completedSteps: steps.filter((step) => step.completedAt !== null || step.status === 'skipped').length,
    failedSteps: (counts.failed ?? 0) + (counts.timed_out ?? 0),
    createdBy: 'admin',
    createdAt: ago(13 * minute + 6_000),
    startBy: new Date(startedAt + 47 * minute).toISOString(),
    startedAt: ago(13 * minute + 5_000),
    completedAt: open ? null : ago(2 * minute),
    executionTimeMs: open ? null : 11 * minute,
    errorMessage: null,
    cancelRequestedAt: null,
    cancelRequestedBy: null,
    eventSeq: 100,
    eventId: '100',
    mayRun: true,
    mayCancel: true,
    mayPurge: true,
    mayEdit: true,
    selection: null,
    priority: 0,
    timeoutS: null,
    stopReason: null,
    locks: [],
    strategy: null,
    rerunOf: null,
    reruns: [],
    steps: job.definition.steps.map((step, at) => ({
      stepNumber: at + 1,
      name: step.name,
      stepType: step.type,
    })),
  };
}
