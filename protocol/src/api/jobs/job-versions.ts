// Versions of a job: what is said of them, how two differ, and the names that runs may use for them.
import { type Static, Type } from 'typebox';
import { changeKinds } from '../../comparison/compare-definitions.ts';
import { Closed, Id, Nullable, Page, pageQuery, Timestamp } from '../common.ts';
import { descriptionPattern } from '../text.ts';
import { JobDefinitionSchema, VersionNameSchema, VersionNameText } from './jobs.ts';

const Note = Type.String({
  maxLength: 1_000,
  pattern: descriptionPattern,
  description: 'Why; for the history',
});

const versionFields = {
  version: Type.Integer(),
  isCurrent: Type.Boolean(),
  createdBy: Type.String(),
  createdAt: Timestamp,
  note: Type.String(),
  /** The version that it brought back; null for one that was written. */
  restores: Nullable(Type.Integer()),
  checksum: Type.String({ description: 'SHA-256 of the definition as stored; hex' }),
  stepCount: Type.Integer(),
  /** Tags and channels that name it. */
  names: Type.Array(VersionNameSchema),
};
export const JobVersionHeadSchema = Type.Object(versionFields);
export type JobVersionHead = Static<typeof JobVersionHeadSchema>;
export const JobVersionPageSchema = Page(JobVersionHeadSchema);
export const JobVersionSchema = Type.Object({
  ...versionFields,
  /** With defaults filled in; without category, labels and template, which belong to the job. */
  definition: JobDefinitionSchema,
});
export type JobVersion = Static<typeof JobVersionSchema>;
export const JobVersionQuerySchema = Closed(pageQuery);

/** Some lines that differ, with those around them. */
export const LineHunkSchema = Type.Object({
  /** Number of the first line, from 1; of an empty side the line before it. */
  beforeStart: Type.Integer(),
  beforeLines: Type.Integer(),
  afterStart: Type.Integer(),
  afterLines: Type.Integer(),
  lines: Type.Array(Type.Object({ op: Type.Enum(['same', 'removed', 'added']), text: Type.String() })),
});
/** One place in which two definitions differ. */
export const DefinitionChangeSchema = Type.Object({
  /** `steps[2].config.command`, as in the later one; of what was removed, as in the earlier one. */
  path: Type.String(),
  /** As in the earlier one, where that differs: steps are compared by id or name, wherever they stand. */
  beforePath: Type.Optional(Type.String()),
  /** Name of the step that it is of. */
  step: Type.Optional(Type.String()),
  /** `moved`: a step that stands elsewhere among those that both have. */
  kind: Type.Enum(changeKinds),
  before: Type.Optional(Type.Unknown()),
  after: Type.Optional(Type.Unknown()),
  /** Of texts with several lines. */
  hunks: Type.Optional(Type.Array(LineHunkSchema)),
});
export const ComparedVersionSchema = Type.Object({
  version: Type.Integer(),
  createdBy: Type.String(),
  createdAt: Timestamp,
  note: Type.String(),
});
export const CompareVersionsQuerySchema = Closed({
  from: Type.String({ maxLength: 64, description: 'Number, tag or channel' }),
  to: Type.Optional(
    Type.String({ maxLength: 64, description: 'Number, tag or channel; the current version unless told' }),
  ),
});
export const VersionComparisonSchema = Type.Object({
  from: ComparedVersionSchema,
  to: ComparedVersionSchema,
  isSame: Type.Boolean(),
  changes: Type.Array(DefinitionChangeSchema),
});
export type VersionComparison = Static<typeof VersionComparisonSchema>;

/** Beside the error of a save that another one came before: both sides. */
export const SaveConflictSchema = Type.Object({
  expectedVersion: Type.Integer(),
  /** What is current now. */
  theirs: Type.Object({ ...ComparedVersionSchema.properties, definition: JobDefinitionSchema }),
  /** From the expected version to the current one. */
  theirChanges: Type.Array(DefinitionChangeSchema),
  /** From the expected version to what was to be saved. */
  yourChanges: Type.Array(DefinitionChangeSchema),
  /** Paths that both changed, and differently. */
  overlapping: Type.Array(Type.String()),
});
export type SaveConflict = Static<typeof SaveConflictSchema>;

export const RollBackRequestSchema = Closed({
  /** Number, tag or channel. */
  version: Type.Union([Type.Integer({ minimum: 1, maximum: 2_147_483_647 }), VersionNameText]),
  /** As when saving. */
  expectedVersion: Type.Optional(Type.Integer({ minimum: 1 })),
  note: Type.Optional(Note),
});
export type RollBackRequest = Static<typeof RollBackRequestSchema>;

export const SetVersionNameRequestSchema = Closed({
  version: Type.Integer({ minimum: 1, maximum: 2_147_483_647 }),
});

export const historyKinds = [
  'created',
  'saved',
  'rolled_back',
  'moved',
  'labelled',
  'template',
  'state',
  'tagged',
  'untagged',
  'channel_set',
  'channel_removed',
] as const;
/** One change to a job, newest first. */
export const JobHistoryEntrySchema = Type.Object({
  at: Timestamp,
  by: Type.String(),
  kind: Type.Enum(historyKinds),
  /** In words. */
  summary: Type.String(),
  /** The version that it made, or that it is about. */
  version: Nullable(Type.Integer()),
  note: Type.String(),
});
export type JobHistoryEntry = Static<typeof JobHistoryEntrySchema>;
export const JobHistoryPageSchema = Page(JobHistoryEntrySchema);
export const JobHistoryQuerySchema = Closed(pageQuery);
export const VersionParamsSchema = Closed({
  id: Id,
  version: Type.String({ minLength: 1, maxLength: 64, description: 'Number, tag or channel' }),
});
export const VersionNameParamsSchema = Closed({ id: Id, name: VersionNameText });
