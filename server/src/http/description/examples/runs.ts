// Example answers of the routes of runs and the queue, for the description. A test checks them against the schemas.
import type {
  ExecutorOverview,
  ExecutorStatus,
  Run,
  RunDetail,
  RunPage,
  RunSteps,
  SshConnectionPage,
  TargetRun,
  TargetRunPage,
  WorkerStatus,
} from '@opsconductor/protocol';

const times = {
  createdAt: '2026-11-26T06:00:00.000Z',
  startBy: '2026-11-26T07:00:00.000Z',
  startedAt: '2026-11-26T06:00:00.412Z',
};

const runExample = {
  id: 214,
  jobId: 7,
  jobName: 'Restart a service',
  category: 'prod/web',
  jobVersion: 3,
  status: 'running',
  outputState: 'open',
  targetsTotal: 2,
  targetsQueued: 0,
  targetsRunning: 1,
  targetsHeld: 0,
  targetsSucceeded: 1,
  targetsFailed: 0,
  targetsCancelled: 0,
  targetsTimedOut: 0,
  targetsUnknown: 0,
  totalSteps: 4,
  completedSteps: 3,
  failedSteps: 0,
  createdBy: 'ada',
  ...times,
  completedAt: null,
  executionTimeMs: null,
  errorMessage: null,
  cancelRequestedAt: null,
  cancelRequestedBy: null,
  eventSeq: 9,
} satisfies Run;

export const cancellingRunExample = {
  ...runExample,
  status: 'cancelling',
  cancelRequestedAt: '2026-11-26T06:00:31.000Z',
  cancelRequestedBy: 'ben',
  eventSeq: 10,
} satisfies Run;

export const runPageExample = { items: [runExample], nextCursor: null, total: 1 } satisfies RunPage;

export const runDetailExample = {
  ...runExample,
  eventId: '9',
  mayRun: true,
  mayCancel: true,
  mayPurge: false,
  mayEdit: false,
  steps: [
    { stepNumber: 1, name: 'restart', stepType: 'ssh.exec' },
    { stepNumber: 2, name: 'check', stepType: 'ssh.exec' },
  ],
  selection: {
    targets: 0,
    groups: [],
    selector: 'env=prod role=web',
    exclude: { targets: 0, groups: [], selector: null },
    selected: 2,
  },
  priority: 0,
  timeoutS: 1800,
  stopReason: null,
  locks: [],
  strategy: null,
  rerunOf: null,
  reruns: [],
  parameters: [{ name: 'service', value: 'nginx', secret: false, isDefault: false }],
  versionRef: 'stable',
  runReason: 'Certificate was renewed',
  untoldAttempts: 0,
} satisfies RunDetail;

const endedTargetRunExample = {
  id: 901,
  targetId: 3,
  targetName: 'web-01',
  segmentId: 1,
  segmentName: 'dmz',
  status: 'succeeded',
  startedAt: times.startedAt,
  completedAt: '2026-11-26T06:00:04.731Z',
  endReason: null,
} satisfies TargetRun;

export const runStepsExample = {
  targetRuns: [endedTargetRunExample],
  steps: [
    {
      id: 3301,
      targetRunId: 901,
      stepNumber: 1,
      name: 'restart',
      stepType: 'ssh.exec',
      status: 'succeeded',
      attempt: 1,
      attempts: 1,
      agentName: 'dmz-agent-1',
      leasedAt: '2026-11-26T06:00:00.398Z',
      startedAt: times.startedAt,
      completedAt: '2026-11-26T06:00:04.120Z',
      executionTimeMs: 3_708,
      exitCode: 0,
      signal: null,
      reason: null,
      errorMessage: null,
      advice: null,
      survivors: [],
      outputState: 'complete',
      outputBytes: 182,
      outputSeq: 1,
    },
  ],
  nextCursor: null,
} satisfies RunSteps;

export const targetRunExample = {
  ...endedTargetRunExample,
  status: 'cancelling',
  completedAt: null,
  cancelRequestedAt: '2026-11-26T06:00:31.000Z',
  cancelRequestedBy: 'ben',
} satisfies TargetRun;

export const targetRunsExample = {
  items: runStepsExample.targetRuns,
  nextCursor: null,
} satisfies TargetRunPage;

export const sshConnectionsExample = {
  items: [
    {
      id: 902,
      targetRunId: 4_410,
      targetName: 'web-1',
      agentName: 'dmz-agent-1',
      sessionId: '71ecef62-c8e7-4304-896e-e24ebdd6cf8d',
      establishedAt: '2026-11-26T05:59:41.030Z',
      commandsExecuted: 2,
      filesTransferred: 6,
      totalBytesTransferred: 15_082,
    },
  ],
  nextCursor: null,
} satisfies SshConnectionPage;

export const executorStatusExample = {
  status: 'ok',
  steps: { ready: 0, running: 1, held: 0 },
  runs: { queued: 0, running: 1, cancelling: 0 },
  oldestReadyMs: null,
  segments: [{ id: 1, name: 'dmz', ready: 0, running: 1, ableAgents: 2, freeSlots: 31, stuckSince: null }],
  problems: [],
} satisfies ExecutorStatus;

export const executorOverviewExample = {
  segments: { healthy: 3, degraded: 1, offline: 0, no_agent: 0 },
  heldSteps: 2,
} satisfies ExecutorOverview;

export const workerStatusExample = {
  connected: 2,
  silent: 0,
  offline: 0,
  slots: 32,
  slotsInUse: 1,
  freeSlots: 31,
  agents: [
    { id: 1, name: 'dmz-agent-1', segmentName: 'dmz', state: 'connected', slots: 16, slotsInUse: 1 },
    { id: 2, name: 'dmz-agent-2', segmentName: 'dmz', state: 'connected', slots: 16, slotsInUse: 0 },
  ],
} satisfies WorkerStatus;
