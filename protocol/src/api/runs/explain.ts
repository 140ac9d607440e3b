// Explains why parts of a run are waiting.
import { type Static, Type } from 'typebox';
import { Id, Nullable, Timestamp } from '../schema-parts.ts';

export const waitCodes = [
  /** Ready steps, and the agents of their segment. */
  'no_agent',
  'agents_offline',
  'agents_silent',
  'agents_disabled',
  'agents_draining',
  'agents_busy',
  'agents_starting',
  'no_segment_key',
  /** Some agents could be given steps, but not these: their version can't do what the steps need. */
  'no_capable_agent',
  /** Replaces the eight above for a caller who may not read the segment. */
  'no_able_agent',
  'no_free_slot',
  'behind_priority',
  'starts_now',
  /** Steps that are kept back. */
  'lock',
  'retry',
  'decision',
  /** Targets that the run's strategy has not opened yet. */
  'max_parallel',
  'batch',
  /** Replaces the two above for a caller who sees only a part of the run. */
  'strategy',
  /** Steps that an agent has. */
  'leased',
  'agent_unheard',
  'target_silent',
  'stopping',
] as const;
export type WaitCode = (typeof waitCodes)[number];

export const WaitSchema = Type.Object({
  code: Type.Enum(waitCodes),
  /** Why, for a person. */
  message: Type.String(),
  /** What to do about it; `null` if nothing needs to be done. */
  advice: Nullable(Type.String()),
  /** Since when, if that is known and may be disclosed. */
  since: Nullable(Timestamp),
  /** When it ends by itself at the latest, if that is known; for several targets, the earliest of these times. */
  until: Nullable(Timestamp),
  targets: Type.Integer({ description: 'Target runs that wait for this' }),
  examples: Type.Array(Type.Object({ targetRunId: Id, targetName: Type.String() }), {
    description: 'The first 5; of `target_silent` the first 50',
  }),
  segmentId: Nullable(Id),
  segmentName: Nullable(Type.String()),
  agentName: Nullable(Type.String()),
  /** Name of the lock as the job gives it. */
  lockName: Nullable(Type.String()),
  runs: Type.Array(Id, {
    description: 'Runs that hold the lock or go first: at most 10, and only those that the caller may read',
  }),
});
export type Wait = Static<typeof WaitSchema>;

export const RunExplanationSchema = Type.Object({
  runId: Id,
  /** The time of this answer, by the database's clock. */
  at: Timestamp,
  /** The largest first; empty if nothing waits. */
  waits: Type.Array(WaitSchema),
  /**
   * The run ends `timed_out` at this time unless a step begins. `null` once one has, and for a caller who sees only a
   * part of the run.
   */
  startBy: Nullable(Timestamp),
  /**
   * When the run's timeout stops it. `null` without a timeout, before the first lease, and for a caller who sees only a
   * part of the run.
   */
  timeoutAt: Nullable(Timestamp),
  /** Why no further target starts; also `null` for a caller who sees only a part of the run. */
  haltedReason: Nullable(Type.String()),
});
export type RunExplanation = Static<typeof RunExplanationSchema>;
