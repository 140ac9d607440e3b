// How jobs are doing: their health, and statistics over their runs.
import { type Static, Type } from 'typebox';
import { limits } from '../../limits.ts';
import { jobStates, runStatuses } from '../../states.ts';
import { Closed, Id, Nullable, Page, pageQuery, Timestamp } from '../schema-parts.ts';

export const jobProblemKinds = [
  /** A step names a credential that exists in no segment. */
  'unknown_credential',
  /** This server doesn't know a step type, or it is deprecated. */
  'unknown_step_type',
  'deprecated_step_type',
  /** A segment of its last run has no connected agent. */
  'segment_without_agents',
  /** Its last runs all failed. */
  'failing',
  /** Its definition breaks a rule of today's schema. */
  'invalid',
  /** It breaks a site rule, which may be newer than the job. It can still be run. */
  'site_rule',
] as const;
export type JobProblemKind = (typeof jobProblemKinds)[number];
export const JobProblemSchema = Type.Object({
  kind: Type.Enum(jobProblemKinds),
  /** What is wrong and what to do. */
  message: Type.String(),
  /** The place in the definition. */
  path: Type.Optional(Type.String()),
});
export type JobProblem = Static<typeof JobProblemSchema>;

export const JobsHealthSchema = Type.Object({
  status: Type.Enum(['ok', 'degraded']),
  jobs: Type.Integer(),
  openRuns: Type.Integer(),
  /** What is wrong, in words; empty if nothing is. */
  problems: Type.Array(Type.String()),
  /** Active jobs with problems among those on this page, by name. */
  items: Type.Array(Type.Object({ id: Id, name: Type.String(), problems: Type.Array(JobProblemSchema) })),
  nextCursor: Nullable(Type.String()),
});
export type JobsHealth = Static<typeof JobsHealthSchema>;
export const JobsHealthQuerySchema = Closed(pageQuery);
export const JobHealthSchema = Type.Object({
  status: Type.Enum(['ok', 'degraded']),
  problems: Type.Array(JobProblemSchema),
});
export type JobHealth = Static<typeof JobHealthSchema>;

export const JobStatisticsQuerySchema = Closed({
  days: Type.Optional(Type.Integer({ minimum: 1, maximum: 365, default: 30 })),
});
const Durations = Type.Object({
  p50Ms: Nullable(Type.Integer()),
  p90Ms: Nullable(Type.Integer()),
  p99Ms: Nullable(Type.Integer()),
  maxMs: Nullable(Type.Integer()),
});
export const JobStatisticsSchema = Type.Object({
  days: Type.Integer(),
  since: Timestamp,
  /** Runs started since then. */
  runs: Type.Integer(),
  /** Runs that ended, by status. */
  byStatus: Type.Record(Type.String(), Type.Integer()),
  open: Type.Integer(),
  /** Share of the ended runs that succeeded, not counting cancelled ones; `null` if there are none. */
  successRate: Nullable(Type.Number()),
  /** Durations of the ended runs. */
  durations: Durations,
  last: Nullable(
    Type.Object({
      id: Id,
      status: Type.Enum(runStatuses),
      createdAt: Timestamp,
      executionTimeMs: Nullable(Type.Integer()),
    }),
  ),
  /** One entry for each day with runs, in UTC, oldest first. */
  byDay: Type.Array(
    Type.Object({
      day: Type.String({ description: 'A day, such as 2026-11-25' }),
      runs: Type.Integer(),
      succeeded: Type.Integer(),
      failed: Type.Integer({ description: 'Failed, timed out or partial' }),
      unknown: Type.Optional(
        Type.Integer({ description: 'Ended unknown; an older server counts these as failed' }),
      ),
      p50Ms: Nullable(Type.Integer()),
    }),
  ),
  /** There were more runs than were looked at. */
  isCut: Type.Boolean({ description: `Only the newest ${limits.maxRunsForStatistics} runs were looked at` }),
});
export type JobStatistics = Static<typeof JobStatisticsSchema>;
/** How many jobs there are. Archived jobs count only in `states`. */
export const JobCountsSchema = Type.Object({
  total: Type.Integer(),
  states: Type.Array(Type.Object({ state: Type.Enum(jobStates), jobs: Type.Integer() })),
  /** Jobs by the status of their last run; `none` for those that never ran. */
  lastResults: Type.Array(
    Type.Object({ lastResult: Type.Enum([...runStatuses, 'none']), jobs: Type.Integer() }),
  ),
  /** Jobs directly in each category, not in those below it; categories without jobs are left out. */
  categories: Type.Array(Type.Object({ category: Type.String(), jobs: Type.Integer() })),
  templates: Type.Integer(),
});
export type JobCounts = Static<typeof JobCountsSchema>;
export const JobLabelsInUseSchema = Page(
  Type.Object({ name: Type.String(), jobs: Type.Integer(), values: Type.Array(Type.String()) }),
);
export type JobLabelsInUse = Static<typeof JobLabelsInUseSchema>;
