// Runs, their target runs, steps, output and live events.
import { type Static, Type } from 'typebox';
import { limits } from '../../limits.ts';
import { Pair } from '../../pair.ts';
import { outputStateMeaning, outputStates, runStatuses, stepStatuses } from '../../states.ts';
import type { segmentHealths } from '../agents/segments.ts';
import { RunParameterSchema, StepHandedOnSchema } from '../jobs/values.ts';
import { Closed, Id, Nullable, Page, pageQuery, Timestamp } from '../schema-parts.ts';
import { RunSelectionSchema } from '../targets/selection.ts';
import { endFields, leftFields } from './attempt-end.ts';
import { LockSchema, RunStrategySchema } from './strategy.ts';

const targetCounts = {
  targetsTotal: Type.Integer(),
  targetsQueued: Type.Integer(),
  targetsRunning: Type.Integer(),
  targetsHeld: Type.Optional(Type.Integer({ description: 'Targets that wait for a decision' })),
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
  category: Type.String({ description: 'The job’s current category' }),
  jobVersion: Type.Integer(),
  status: Type.Enum(runStatuses),
  /** The worst state of its steps' output; `open` while any of it may still grow. */
  outputState: Type.Enum(outputStates, { description: outputStateMeaning }),
  ...targetCounts,
  totalSteps: Type.Integer(),
  completedSteps: Type.Integer({ description: 'Steps that ended, however they ended' }),
  failedSteps: Type.Integer({
    description: 'Steps that ended failed or timed out, including those that timed out before they ran',
  }),
  lateResults: Type.Optional(
    Type.Integer({
      description:
        'Results that came too late to change an outcome; they are recorded with their steps and attempts',
    }),
  ),
  isJobDeleted: Type.Optional(
    Type.Boolean({
      description: 'Present if the job has been deleted since; its versions can still be read',
    }),
  ),
  isTrial: Type.Optional(
    Type.Boolean({
      description: 'Whether it is a trial run of a draft or a template, by someone who may edit it',
    }),
  ),
  createdBy: Type.String(),
  createdAt: Timestamp,
  startBy: Timestamp,
  startedAt: Nullable(Timestamp),
  completedAt: Nullable(Timestamp),
  /** From the start of the first step to the end of the run. */
  executionTimeMs: Nullable(Type.Integer()),
  /** Why it ended as it did, for a person. */
  errorMessage: Nullable(Type.String()),
  cancelRequestedAt: Nullable(Timestamp),
  cancelRequestedBy: Nullable(Type.String()),
  eventSeq: Type.Integer({
    description:
      'Number of the newest event: pass it as `after` to the event stream. Callers who see only a part of the run have their own numbering; in lists they get 0.',
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
    Type.String({ maxLength: 200, description: 'A category of jobs, including those below it' }),
  ),
  search: Type.Optional(Type.String({ maxLength: 100, description: 'Part of the job’s name' })),
  createdBy: Type.Optional(Type.String({ maxLength: 100, description: 'Name of the user who started it' })),
  target: Type.Optional(
    Type.String({ maxLength: 100, description: 'Part of the name of one of its targets' }),
  ),
  version: Type.Optional(
    Type.String({
      maxLength: 64,
      description: 'Version of the job: a number, or the tag or channel that was requested',
    }),
  ),
  createdAfter: Type.Optional(Timestamp),
  createdBefore: Type.Optional(Timestamp),
  sort: Type.Optional(Type.Enum(runSorts, { default: 'newest', description: 'By start time' })),
  /** Whether `total` reports the count over all pages. */
  count: Type.Optional(Type.Boolean()),
});
export type RunQuery = Static<typeof RunQuerySchema>;
/** Up to this many runs are counted exactly. */
export const maxCountedRuns = 10_000;
export const RunPageSchema = Type.Object({
  ...Page(RunSchema).properties,
  /**
   * Only with `count=true`. 10,000 means that many or more. Missing for a `status` filter if the caller sees only parts
   * of runs, and if counting would take too long.
   */
  total: Type.Optional(Type.Integer()),
});
export type RunPage = Static<typeof RunPageSchema>;

const cancelledByItself = {
  cancelRequestedAt: Type.Optional(
    Nullable(
      Type.String({
        description: 'When this target run was cancelled by itself; missing if it was not',
        maxLength: 40,
      }),
    ),
  ),
  cancelRequestedBy: Type.Optional(Nullable(Type.String({ description: 'Who did that' }))),
};
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
  ...cancelledByItself,
});
export type TargetRun = Static<typeof TargetRunSchema>;
export const StepSchema = Type.Object({
  id: Id,
  targetRunId: Id,
  stepNumber: Type.Integer({ minimum: 1 }),
  name: Type.String(),
  stepType: Type.String(),
  status: Type.Enum(stepStatuses),
  attempt: Type.Integer({
    description:
      'Identifies its newest lease, and so its output; 0 before the first. Leases that come back unbegun leave gaps.',
  }),
  attempts: Type.Optional(
    Type.Integer({
      description: 'How many attempts there have been: leases without those that came back unbegun',
    }),
  ),
  agentName: Nullable(Type.String()),
  leasedAt: Nullable(Timestamp),
  startedAt: Nullable(Timestamp),
  completedAt: Nullable(Timestamp),
  ...endFields,
  errorMessage: Nullable(Type.String()),
  advice: Nullable(Type.String()),
  ...leftFields,
  /** For a ready step that is tried again: the earliest time of the next try. */
  notBefore: Type.Optional(Nullable(Timestamp)),
  /** For a held step: until when it waits for a decision. */
  heldUntil: Type.Optional(Nullable(Timestamp)),
  outputState: Type.Enum(outputStates, { description: outputStateMeaning }),
  /** Raw bytes stored so far. */
  outputBytes: Type.Integer(),
  /** Highest stored sequence number of the current attempt. */
  outputSeq: Type.Integer(),
  /** What it has handed on; missing if nothing. */
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
      description: 'Only these target runs: comma-separated, at most 100',
    }),
  ),
});
/** GET runs/:id/steps is paged by target run: each page holds whole target runs with all their steps. */
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
  mayRun: Type.Optional(
    Type.Boolean({
      description:
        '`true`: only on targets that the caller may run the job on now. A page may then have fewer items than `limit`, or none, although more follow',
    }),
  ),
});
export const TargetRunPageSchema = Page(TargetRunSchema);
export type TargetRunPage = Static<typeof TargetRunPageSchema>;
export const RunDetailSchema = Type.Object({
  ...RunSchema.properties,
  eventId: Type.String({
    description:
      'Id of the newest event visible to the caller: sent as `Last-Event-ID`, it makes the stream continue from there.',
  }),
  mayRun: Type.Optional(
    Type.Boolean({
      description: 'Whether the caller may run its job, on targets where they may run jobs; only in `GET`',
    }),
  ),
  mayCancel: Type.Optional(
    Type.Boolean({
      description: 'Whether the caller may cancel it, or decide its held steps; only in `GET`',
    }),
  ),
  mayPurge: Type.Optional(
    Type.Boolean({ description: 'Whether the caller may purge it once it has ended; only in `GET`' }),
  ),
  mayEdit: Type.Optional(Type.Boolean({ description: 'Whether the caller may edit its job; only in `GET`' })),
  steps: Type.Array(
    Type.Object({ stepNumber: Type.Integer(), name: Type.String(), stepType: Type.String() }),
    {
      description: 'The job version’s steps, once for all targets',
    },
  ),
  /** How its targets were selected; `null` for a caller who may not read the job. */
  selection: Nullable(RunSelectionSchema),
  priority: Type.Integer(),
  /** Seconds from its first lease; `null` for no limit. */
  timeoutS: Nullable(Type.Integer()),
  /** Why it was stopped or is being stopped, if nobody cancelled it. */
  stopReason: Nullable(Type.Enum(['run_timeout'])),
  locks: Type.Array(LockSchema),
  /** `null` if there is none, and for a caller who sees only a part of the run. */
  strategy: Nullable(
    Type.Object({
      ...RunStrategySchema.properties,
      /** Number of targets that may have started. */
      opened: Type.Integer(),
      /** Number of the batch that is open; `null` without batches. */
      batch: Nullable(Type.Integer()),
      /** Which limit of failures was exceeded, so that no further target starts. */
      haltedReason: Nullable(Type.String()),
    }),
  ),
  /** The run whose targets this one repeats; also `null` for a caller who sees only a part of the run. */
  rerunOf: Nullable(Id),
  /** Runs that repeated targets of this one, newest first; at most 100. */
  reruns: Type.Array(Id),
  /** In the order of the job's version; `null` for a caller who sees only a part of the run. */
  parameters: Nullable(Type.Array(RunParameterSchema)),
  /** The tag or channel that was requested; `null` for a number or the current version. */
  versionRef: Nullable(Type.String()),
  /** Why it was run; also `null` for a caller who sees only a part of the run. */
  runReason: Nullable(Type.String()),
  /** For a signed run; missing for a caller who sees only a part of the run. */
  signature: Type.Optional(
    Type.Object({
      fingerprint: Type.String({ description: 'Fingerprint of the signer’s public key: `SHA256:…`' }),
      signedUntil: Timestamp,
    }),
  ),
  untoldAttempts: Type.Optional(
    Type.Integer({
      description:
        'For a run that has ended: attempts that were given up and of which nothing has been heard since. What they began may still be running; cancelling the run stops it. Missing for callers who see only a part of the run.',
    }),
  ),
});
export type RunDetail = Static<typeof RunDetailSchema>;

/** Doesn't wait for agents: running steps end `unknown` at once, and their agents are still told to stop them. */
const force = Type.Optional(Type.Boolean());
export const PurgeQuerySchema = Closed({ purge: Type.Optional(Type.Boolean()), force });
export const CancelQuerySchema = Closed({ force });

// ---- output

export const OutputChunkSchema = Type.Object({
  epoch: Type.Integer(),
  seq: Type.Integer(),
  stream: Type.Enum(['stdout', 'stderr']),
  elapsedMs: Type.Integer({ description: 'Time since the step began, in ms' }),
  rawLength: Type.Integer({ description: 'Length after decompression, in bytes' }),
  /** Compressed with gzip, in base64. */
  data: Type.String(),
});
export type OutputChunk = Static<typeof OutputChunkSchema>;
export const OutputQuerySchema = Closed({
  format: Type.Optional(
    Type.Enum(['chunks', 'text', 'raw'], {
      default: 'chunks',
      description:
        '`chunks`: JSON pages of numbered gzip chunks. `text` (text/plain) and `raw` (an attachment): the bytes as they came; both support HTTP Range.',
    }),
  ),
  stream: Type.Optional(Type.Enum(['stdout', 'stderr'])),
  /** Attempt (epoch); by default the current one. */
  attempt: Type.Optional(Type.Integer({ minimum: 1, maximum: 2_147_483_647 })),
  /** For `chunks`: only those with a higher number. */
  after: Type.Optional(Type.Integer({ minimum: 0, maximum: 2_147_483_647, default: 0 })),
  /** For `chunks`: approximate maximum of raw bytes in one answer. */
  maxBytes: Type.Optional(Type.Integer({ minimum: 1, maximum: 8 * 1024 * 1024, default: 2 * 1024 * 1024 })),
});
export const OutputPageSchema = Type.Object({
  attempt: Type.Integer(),
  outputState: Type.Enum(outputStates, { description: outputStateMeaning }),
  /** Highest stored sequence number. */
  lastSeq: Type.Integer(),
  rawBytes: Type.Integer(),
  chunks: Type.Array(OutputChunkSchema),
  /** Ranges of sequence numbers that were lost with an agent’s disk. */
  gaps: Type.Array(Pair(Type.Integer(), Type.Integer())),
});
export type OutputPage = Static<typeof OutputPageSchema>;

// ---- live events (SSE)

export const RunEventsQuerySchema = Closed({
  /** Number of the event to continue after; `Last-Event-ID` takes precedence. */
  after: Type.Optional(Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER })),
  /**
   * `all` (for small runs), or up to 64 comma-separated step ids: their output is sent in the stream as `chunk` events.
   */
  output: Type.Optional(Type.String({ maxLength: 2000, pattern: '^(all|[0-9]{1,15}(,[0-9]{1,15})*)$' })),
});
/** SSE `event: started`: the first event if a start is answered with the run's stream (`Accept: text/event-stream`). */
export const RunStartedSchema = Type.Object({
  id: Id,
  /** Where to resume a broken stream, by GET with `Last-Event-ID`. */
  events: Type.String(),
  /** `false` if the run has too many steps for their output to be part of the stream. */
  hasOutput: Type.Boolean(),
});
export type RunStarted = Static<typeof RunStartedSchema>;
/**
 * SSE `event: change`, `id: <seq>[~step.epoch.seq…]`: the new values of everything that changed. A reader that resumes
 * with the last id misses nothing.
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
        ...cancelledByItself,
      }),
    ),
  ),
  steps: Type.Optional(
    Type.Array(Type.Object({ id: Id, ...Type.Partial(Type.Omit(StepSchema, ['id'])).properties })),
  ),
});
export type RunChange = Static<typeof RunChangeSchema>;
/** SSE `event: chunk`: a stored chunk. Chunks of an attempt arrive in order. */
export const ChunkEventSchema = Type.Object({ stepId: Id, ...OutputChunkSchema.properties });
export type ChunkEvent = Static<typeof ChunkEventSchema>;
/** SSE `event: end`, `data: {}`: the run has ended and everything was sent; the reader need not reconnect. */

// ---- queue and agents (the specification's executor and worker)

export const ExecutorStatusSchema = Type.Object({
  status: Type.Enum(['ok', 'degraded']),
  steps: Type.Object({
    ready: Type.Integer(),
    running: Type.Integer({
      description: 'Leased, whether begun or not, without steps that were leased ahead of their turn',
    }),
    held: Type.Integer(),
  }),
  runs: Type.Object({ queued: Type.Integer(), running: Type.Integer(), cancelling: Type.Integer() }),
  oldestReadyMs: Nullable(
    Type.Integer({ description: 'Age of the oldest run that has a ready step, in ms' }),
  ),
  segments: Type.Array(
    Type.Object({
      id: Id,
      name: Type.String(),
      ready: Type.Integer(),
      running: Type.Integer({ description: 'As in `steps`' }),
      ableAgents: Type.Integer({
        description:
          'Agents that can be given steps now, busy or not: connected, not draining, and holding the segment key',
      }),
      freeSlots: Type.Integer({ description: 'Free slots of these agents' }),
      stuckSince: Nullable(
        Type.String({
          description:
            'Since when steps have been ready here without an agent that can take them; null otherwise',
          maxLength: 40,
        }),
      ),
    }),
  ),
  problems: Type.Array(Type.String(), { description: 'What is wrong, in words; empty if nothing is' }),
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
    { description: 'Number of segments by health' },
  ),
  heldSteps: Type.Integer({ description: 'Steps that wait for a decision' }),
});
export type ExecutorOverview = Static<typeof ExecutorOverviewSchema>;
export const WorkerStatusSchema = Type.Object({
  connected: Type.Integer({ description: 'Including draining agents' }),
  silent: Type.Integer(),
  offline: Type.Integer({ description: 'Including disabled and quarantined agents' }),
  slots: Type.Integer({
    description: 'Slots of connected and silent agents, and of any others whose leases are not settled yet',
  }),
  slotsInUse: Type.Integer({ description: 'Steps that are leased, by any agent' }),
  freeSlots: Type.Integer({
    description: 'Slots that can be given a step now, that is, not those of draining or silent agents',
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
