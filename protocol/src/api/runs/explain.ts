// Why what waits of a run waits.
import { type Static, Type } from 'typebox';
import { Id, Nullable, Timestamp } from '../common.ts';

export const waitCodes = [
  /** Steps that are ready, and the agents of their segment. */
  'no_agent',
  'agents_offline',
  'agents_silent',
  'agents_disabled',
  'agents_draining',
  'agents_busy',
  'agents_starting',
  'no_segment_key',
  /** Agents could be given steps, but not these: they are of a version that can't do what they need. */
  'no_capable_agent',
  /** In place of the eight above, for who may not read the segment. */
  'no_able_agent',
  'no_free_slot',
  'behind_priority',
  'starts_now',
  /** Steps that are kept back. */
  'lock',
  'retry',
  'decision',
  /** Targets that the run's strategy has not opened. */
  'max_parallel',
  'batch',
  /** In place of the two above, for who sees only a part of the run. */
  'strategy',
  /** Steps that an agent has. */
  'leased',
  'agent_unheard',
  'stopping',
] as const;
export type WaitCode = (typeof waitCodes)[number];

export const WaitSchema = Type.Object({
  code: Type.Enum(waitCodes),
  /** Why, for a person. */
  message: Type.String(),
  /** What to do about it; null where nothing need be done. */
  advice: Nullable(Type.String()),
  /** Since when that is so, where it is known and may be told. */
  since: Nullable(Timestamp),
  /** When it ends by itself at the latest, where that is known: of many, the first of them. */
  until: Nullable(Timestamp),
  targets: Type.Integer({ description: 'Target runs that wait for this' }),
  examples: Type.Array(Type.Object({ targetRunId: Id, targetName: Type.String() }), {
    description: 'The first 5 of them',
  }),
  segmentId: Nullable(Id),
  segmentName: Nullable(Type.String()),
  agentName: Nullable(Type.String()),
  /** Name of the lock, as the job says it. */
  lockName: Nullable(Type.String()),
  runs: Type.Array(Id, {
    description:
      'Runs that hold the lock, or go first: 10 at most, and of those only what the caller may read',
  }),
});
export type Wait = Static<typeof WaitSchema>;

export const RunExplanationSchema = Type.Object({
  runId: Id,
  /** The database's clock when this was so. */
  at: Timestamp,
  /** The largest first; empty when nothing waits. */
  waits: Type.Array(WaitSchema),
  /** The run ends `timed_out` then unless a step begins; null once one has, and for who sees only a part of the run. */
  startBy: Nullable(Timestamp),
  /** When the run's timeout stops it; null without one, before the first lease, and for who sees only a part. */
  timeoutAt: Nullable(Timestamp),
  /** Why no further target starts; null also for who sees only a part of the run. */
  haltedReason: Nullable(Type.String()),
});
export type RunExplanation = Static<typeof RunExplanationSchema>;
