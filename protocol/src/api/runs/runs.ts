// Runs, their target runs, steps, output and live events.
import { type Static, Type } from 'typebox';
import { DetectionSchema } from '../../detections.ts';
import { limits } from '../../limits.ts';
import { Pair } from '../../pair.ts';
import { outputStateMeaning, outputStates, runStatuses, stepStatuses } from '../../states.ts';
import type { segmentHealths } from '../agents/segments.ts';
import { Closed, Id, Nullable, Page, pageQuery, Timestamp } from '../common.ts';
import { RunParameterSchema, StepHandedOnSchema } from '../jobs/values.ts';
import { RunSelectionSchema } from '../targets/selection.ts';
import { LockSchema, RunStrategySchema } from './strategy.ts';

const targetCounts = {
  targetsTotal: Type.Integer(),
  targetsQueued: Type.Integer(),
  targetsRunning: Type.Integer(),
  targetsHeld: Type.Optional(Type.Integer({ description: 'Waiting for a decision' })),
  targetsSucceeded: Type.Integer(),
  targetsFailed: Type.Integer(),
  targetsCancelled: Type.Integer(),
  targetsTimedOut: Type.Integer(),
  targetsUnknown: Type.Integer(),
};
export const RunSchema = Type.Object({
  id: Id,
  jobId: Id,
  jobName: Type.String(),
  category: Type.String({ description: 'Of the job, as it is now' }),
  jobVersion: Type.Integer(),
  status: Type.Enum(runStatuses),
  /** Worst state of its steps' output; `open` while any may still grow. */
  outputState: Type.Enum(outputStates, { description: outputStateMeaning }),
  ...targetCounts,
  totalSteps: Type.Integer(),
  completedSteps: Type.Integer({ description: 'Steps that ended, in whatever way' }),
  failedSteps: Type.Integer({ description: 'Steps that ended failed or timed out' }),
  lateResults: Type.Optional(
    Type.Integer({
      description:
        'Results that came too late to change an outcome; they are noted on their steps and attempts',
    }),
  ),
  isTrial: Type.Optional(Type.Boolean({ description: 'Of a draft or a template, by who may edit it' })),
  createdBy: Type.String(),
  createdAt: Timestamp,
  startBy: Timestamp,
  startedAt: Nullable(Timestamp),
  completedAt: Nullable(Timestamp),
  /** From the first step's start to the end. */
  executionTimeMs: Nullable(Type.Integer()),
  /** Why it ended as it did, for a person. */
  errorMessage: Nullable(Type.String()),
  cancelRequestedAt: Nullable(Timestamp),
  cancelRequestedBy: Nullable(Type.String()),
  eventSeq: Type.Integer({
    description:
      'Number of the newest event: pass as `after` to the event stream. Who sees only a part of the run has numbers of their own; in lists they get 0.',
  }),
});
export type Run = Static<typeof RunSchema>;
export const runSorts = ['newest', 'oldest'] as const;
export type RunSort = (typeof runSorts)[number];
export const RunQuerySchema = Closed({
  ...pageQuery,
  status: Type.Optional(
    Type.String({ description: 'One or more statuses, comma-separated', maxLength: 200 }),
  ),
  jobId: Type.Optional(Id),
  targetId: Type.Optional(Id),
  category: Type.Optional(
    Type.String({ maxLength: 200, description: 'A category of jobs, with those below it' }),
  ),
  search: Type.Optional(Type.String({ maxLength: 100, description: 'Part of the job’s name' })),
  createdBy: Type.Optional(Type.String({ maxLength: 100, description: 'Name of who started it' })),
  target: Type.Optional(
    Type.String({ maxLength: 100, description: 'Part of the name of a target that it runs on' }),
  ),
  version: Type.Optional(
    Type.String({
      maxLength: 64,
      description: 'Of the job: a number, or the tag or channel that was asked for',
    }),
  ),
  createdAfter: Type.Optional(Timestamp),
  createdBefore: Type.Optional(Timestamp),
  sort: Type.Optional(Type.Enum(runSorts, { default: 'newest', description: 'By when it was started' })),
  /** Says in `total` how many there are on all pages. */
  count: Type.Optional(Type.Boolean()),
});
export type RunQuery = Static<typeof RunQuerySchema>;
/** More runs than these are not counted one by one. */
export const maxCountedRuns = 10_000;
export const RunPageSchema = Type.Object({
  ...Page(RunSchema).properties,
  /** With `count=true`; 10,000 stands for that many or more. Not for a status where parts of runs are seen, nor of what takes long to count. */
  total: Type.Optional(Type.Integer()),
});
export type RunPage = Static<typeof RunPageSchema>;

export const TargetRunSchema = Type.Object({
  id: Id,
  targetId: Nullable(Id),
  targetName: Type.String(),
  segmentId: Id,
  segmentName: Type.String(),
  status: Type.Enum(runStatuses),
  startedAt: Nullable(Timestamp),
  completedAt: Nullable(Timestamp),
  /** Why it ended without having begun. */
  endReason: Nullable(Type.String()),
});
export type TargetRun = Static<typeof TargetRunSchema>;
export const SurvivorSchema = Type.Object({ pid: Type.Integer(), command: Type.String() });
export const StepSchema = Type.Object({
  id: Id,
  targetRunId: Id,
  stepNumber: Type.Integer({ minimum: 1 }),
  name: Type.String(),
  stepType: Type.String(),
  status: Type.Enum(stepStatuses),
  /** Attempts so far; 0 before the first lease. */
  attempt: Type.Integer(),
  agentName: Nullable(Type.String()),
  leasedAt: Nullable(Timestamp),
  startedAt: Nullable(Timestamp),
  completedAt: Nullable(Timestamp),
  /** Of its command; lines of output count from `startedAt`, when the shell has yet to take the command. */
  executionTimeMs: Nullable(Type.Integer()),
  /** Of a command that survives its agent, where its target can tell: processor time, and the most memory at a time. */
  cpuMs: Type.Optional(Nullable(Type.Integer())),
  peakMemoryBytes: Type.Optional(Nullable(Type.Integer())),
  exitCode: Nullable(Type.Integer()),
  signal: Nullable(Type.String()),
  reason: Nullable(Type.String()),
  errorMessage: Nullable(Type.String()),
  advice: Nullable(Type.String()),
  survivors: Type.Array(SurvivorSchema),
  /** What was masked in its output for its form alone: nobody had named it. */
  detections: Type.Optional(Type.Array(DetectionSchema)),
  /** Of a ready step that is tried again: not before then. */
  notBefore: Type.Optional(Nullable(Timestamp)),
  /** Of a held step: until when it waits for a decision. */
  heldUntil: Type.Optional(Nullable(Timestamp)),
  outputState: Type.Enum(outputStates, { description: outputStateMeaning }),
  /** Raw bytes stored so far. */
  outputBytes: Type.Integer(),
  /** Highest stored seq of the current attempt. */
  outputSeq: Type.Integer(),
  /** What it has handed on; left out where that is nothing. */
  handedOn: Type.Optional(Type.Array(StepHandedOnSchema)),
});
export type Step = Static<typeof StepSchema>;
export const RunStepsQuerySchema = Closed({
  ...pageQuery,
  targetRunId: Type.Optional(Id),
  targetRunIds: Type.Optional(
    Type.String({
      maxLength: 2000,
      pattern: '^[0-9]{1,15}(,[0-9]{1,15}){0,99}$',
      description: 'Of these alone, comma-separated, at most 100',
    }),
  ),
});
/** GET runs/:id/steps pages by target run: each page has whole target runs with all their steps. */
export const RunStepsSchema = Type.Object({
  targetRuns: Type.Array(TargetRunSchema),
  steps: Type.Array(StepSchema),
  nextCursor: Nullable(Type.String()),
});
export type RunSteps = Static<typeof RunStepsSchema>;
export const TargetRunQuerySchema = Closed({
  limit: Type.Optional(
    Type.Integer({ minimum: 1, maximum: limits.maxTargetRunsPerPage, default: limits.defaultPageItems }),
  ),
  cursor: pageQuery.cursor,
});
export const TargetRunPageSchema = Page(TargetRunSchema);
export type TargetRunPage = Static<typeof TargetRunPageSchema>;
export const RunDetailSchema = Type.Object({
  ...RunSchema.properties,
  eventId: Type.String({
    description:
      'Id of the newest event of what the caller sees: with it as `Last-Event-ID` the stream says what came since.',
  }),
  mayRun: Type.Optional(
    Type.Boolean({
      description: 'Whether the caller may run its job, on targets where they may; in `GET` alone',
    }),
  ),
  mayCancel: Type.Optional(
    Type.Boolean({ description: 'Whether the caller may cancel it, or decide about it; in `GET` alone' }),
  ),
  steps: Type.Array(
    Type.Object({ stepNumber: Type.Integer(), name: Type.String(), stepType: Type.String() }),
    {
      description: 'The job version’s steps, once for all targets',
    },
  ),
  /** How its targets were asked for; null for who may not read the job. */
  selection: Nullable(RunSelectionSchema),
  priority: Type.Integer(),
  /** Seconds from its first lease; null for no limit. */
  timeoutS: Nullable(Type.Integer()),
  /** Why it is or was stopped, where nobody cancelled it. */
  stopReason: Nullable(Type.Enum(['run_timeout'])),
  locks: Type.Array(LockSchema),
  /** Null without one, and for who sees only a part of the run. */
  strategy: Nullable(
    Type.Object({
      ...RunStrategySchema.properties,
      /** Targets that may have started. */
      opened: Type.Integer(),
      /** Number of the batch that is open; null without batches. */
      batch: Nullable(Type.Integer()),
      /** Which limit of failures was exceeded: no further target starts. */
      haltedReason: Nullable(Type.String()),
    }),
  ),
  /** The run whose targets this one runs on again; null also for who sees only a part of the run. */
  rerunOf: Nullable(Id),
  /** Runs that ran again on targets of this one, newest first; at most 100. */
  reruns: Type.Array(Id),
  /** In the order of the job's version; null for who sees only a part of the run. */
  parameters: Nullable(Type.Array(RunParameterSchema)),
  /** The tag or channel that was asked for; null for a number, or the current version. */
  versionRef: Nullable(Type.String()),
  /** Why it was run; null also for who sees only a part of the run. */
  runReason: Nullable(Type.String()),
  /** Of a run that was signed; left out for who sees only a part of the run. */
  signature: Type.Optional(
    Type.Object({
      fingerprint: Type.String({ description: 'Of the signer’s public key: `SHA256:…`' }),
      signedUntil: Timestamp,
    }),
  ),
  untoldAttempts: Type.Optional(
    Type.Integer({
      description:
        'Of a run that has ended: how many attempts were given up and not told of since. What they began may still run; cancelling the run stops it. Left out for who sees only a part of the run.',
    }),
  ),
});
export type RunDetail = Static<typeof RunDetailSchema>;

/** Waits for no agent: what runs ends `unknown` at once, and goes on being told to stop. */
const force = Type.Optional(Type.Boolean());
export const PurgeQuerySchema = Closed({ purge: Type.Optional(Type.Boolean()), force });
export const CancelQuerySchema = Closed({ force });

// ---- output

export const OutputChunkSchema = Type.Object({
  epoch: Type.Integer(),
  seq: Type.Integer(),
  stream: Type.Enum(['stdout', 'stderr']),
  elapsedMs: Type.Integer({ description: 'Since the step began' }),
  rawLength: Type.Integer({ description: 'Bytes after inflating' }),
  /** gzip, base64. */
  data: Type.String(),
});
export type OutputChunk = Static<typeof OutputChunkSchema>;
export const OutputQuerySchema = Closed({
  format: Type.Optional(
    Type.Enum(['chunks', 'text', 'raw'], {
      default: 'chunks',
      description:
        '`chunks`: JSON pages of numbered gzip chunks. `text` (text/plain) and `raw` (an attachment): the bytes as they came, with HTTP Range.',
    }),
  ),
  stream: Type.Optional(Type.Enum(['stdout', 'stderr'])),
  /** Attempt (epoch); the current one by default. */
  attempt: Type.Optional(Type.Integer({ minimum: 1, maximum: 2_147_483_647 })),
  /** chunks: those numbered above this. */
  after: Type.Optional(Type.Integer({ minimum: 0, maximum: 2_147_483_647, default: 0 })),
  /** chunks: at most about so many raw bytes in one answer. */
  maxBytes: Type.Optional(Type.Integer({ minimum: 1, maximum: 8 * 1024 * 1024, default: 2 * 1024 * 1024 })),
});
export const OutputPageSchema = Type.Object({
  attempt: Type.Integer(),
  outputState: Type.Enum(outputStates, { description: outputStateMeaning }),
  /** Highest stored seq. */
  lastSeq: Type.Integer(),
  rawBytes: Type.Integer(),
  chunks: Type.Array(OutputChunkSchema),
  /** Ranges of seq that were lost with an agent’s disk. */
  gaps: Type.Array(Pair(Type.Integer(), Type.Integer())),
});
export type OutputPage = Static<typeof OutputPageSchema>;

// ---- live events (SSE)

export const RunEventsQuerySchema = Closed({
  /** Event number to go on from; `Last-Event-ID` wins. */
  after: Type.Optional(Type.Integer({ minimum: 0 })),
  /** `all` (small runs), or step ids, comma-separated, at most 64: their output comes in the stream as `chunk` events. */
  output: Type.Optional(Type.String({ maxLength: 2000, pattern: '^(all|[0-9]{1,15}(,[0-9]{1,15})*)$' })),
});
/** SSE `event: started`: the first one where a start answers with the run's stream (`Accept: text/event-stream`). */
export const RunStartedSchema = Type.Object({
  id: Id,
  /** Where a stream that broke is gone on with, by GET with `Last-Event-ID`. */
  events: Type.String(),
  /** False where the run has too many steps for their output to come in the stream. */
  hasOutput: Type.Boolean(),
});
export type RunStarted = Static<typeof RunStartedSchema>;
/**
 * SSE `event: change`, `id: <seq>[~step.epoch.seq…]`: what changed, as whole new values. A reader that resumes with
 * the last id misses nothing.
 */
export const RunChangeSchema = Type.Object({
  seq: Type.Integer(),
  at: Timestamp,
  run: Type.Optional(Type.Partial(RunSchema)),
  targetRuns: Type.Optional(
    Type.Array(
      Type.Object({
        id: Id,
        status: Type.Enum(runStatuses),
        startedAt: Nullable(Timestamp),
        completedAt: Nullable(Timestamp),
      }),
    ),
  ),
  steps: Type.Optional(
    Type.Array(Type.Object({ id: Id, ...Type.Partial(Type.Omit(StepSchema, ['id'])).properties })),
  ),
});
export type RunChange = Static<typeof RunChangeSchema>;
/** SSE `event: chunk`: a stored chunk, in order within its attempt. */
export const ChunkEventSchema = Type.Object({ stepId: Id, ...OutputChunkSchema.properties });
export type ChunkEvent = Static<typeof ChunkEventSchema>;
/** SSE `event: end`, `data: {}`: the run has ended and everything was sent; the reader need not reconnect. */

// ---- queue and agents (the specification's executor and worker)

export const ExecutorStatusSchema = Type.Object({
  status: Type.Enum(['ok', 'degraded']),
  steps: Type.Object({ ready: Type.Integer(), running: Type.Integer(), held: Type.Integer() }),
  runs: Type.Object({ queued: Type.Integer(), running: Type.Integer(), cancelling: Type.Integer() }),
  oldestReadyMs: Nullable(
    Type.Integer({ description: 'Age of the oldest run that has a ready step, in ms' }),
  ),
  segments: Type.Array(
    Type.Object({
      id: Id,
      name: Type.String(),
      ready: Type.Integer(),
      running: Type.Integer(),
      ableAgents: Type.Integer({
        description:
          'Agents that can be given steps now, busy or not: connected, not draining, holding the segment key',
      }),
      freeSlots: Type.Integer({ description: 'Of these agents' }),
      stuckSince: Nullable(
        Type.String({
          description:
            'Since when steps are ready here and no agent can take them; null while that is not so',
          maxLength: 40,
        }),
      ),
    }),
  ),
  problems: Type.Array(Type.String(), { description: 'What is wrong, in words; empty when nothing is' }),
});
export type ExecutorStatus = Static<typeof ExecutorStatusSchema>;
export const ExecutorOverviewSchema = Type.Object({
  segments: Type.Object(
    {
      healthy: Type.Integer(),
      degraded: Type.Integer(),
      offline: Type.Integer(),
      no_agent: Type.Integer(),
    } satisfies Record<(typeof segmentHealths)[number], unknown>,
    { description: 'How many there are of each health' },
  ),
  heldSteps: Type.Integer({ description: 'Steps that wait for a decision' }),
});
export type ExecutorOverview = Static<typeof ExecutorOverviewSchema>;
export const WorkerStatusSchema = Type.Object({
  connected: Type.Integer({ description: 'Also those that drain' }),
  silent: Type.Integer(),
  offline: Type.Integer({ description: 'Also the disabled and quarantined ones' }),
  slots: Type.Integer({
    description: 'Of the connected and silent agents, and of any other whose leases are not settled yet',
  }),
  slotsInUse: Type.Integer({ description: 'Steps that are leased, to whatever agent' }),
  freeSlots: Type.Integer({
    description: 'Slots that can be given a step now: not of draining or silent agents',
  }),
  agents: Type.Array(
    Type.Object({
      id: Id,
      name: Type.String(),
      segmentName: Type.String(),
      state: Type.String(),
      slots: Type.Integer(),
      slotsInUse: Type.Integer(),
    }),
  ),
});
export type WorkerStatus = Static<typeof WorkerStatusSchema>;
