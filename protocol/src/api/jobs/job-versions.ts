// Versions of a job: their metadata, how two of them differ, and the names that runs may use for them.
import { type Static, Type } from 'typebox';
import { changeKinds } from '../../comparison/compare-definitions.ts';
import { Closed, Id, Nullable, Page, pageQuery, Timestamp } from '../schema-parts.ts';
import { descriptionPattern } from '../text.ts';
import { JobDefinitionSchema, VersionNameSchema, VersionNameText } from './jobs.ts';

const Note = Type.String({
  maxLength: 1_000,
  pattern: descriptionPattern,
  description: 'Why, for the history',
});

const versionFields = {
  version: Type.Integer(),
  isCurrent: Type.Boolean(),
  createdBy: Type.String(),
  createdAt: Timestamp,
  note: Type.String(),
  /** The version that it restored; `null` if it was written. */
  restores: Nullable(Type.Integer()),
  checksum: Type.String({ description: 'SHA-256 of the definition as stored, in hex' }),
  stepCount: Type.Integer(),
  /** Tags and channels that point to it. */
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

/** Lines that differ, with some context around them. */
export const LineHunkSchema = Type.Object({
  /** Number of the first line, from 1; for an empty side, that of the line before it. */
  beforeStart: Type.Integer(),
  beforeLines: Type.Integer(),
  afterStart: Type.Integer(),
  afterLines: Type.Integer(),
  lines: Type.Array(Type.Object({ op: Type.Enum(['same', 'removed', 'added']), text: Type.String() })),
});
/** One place where two definitions differ. */
export const DefinitionChangeSchema = Type.Object({
  /**
   * Path in the later definition, such as `steps[2].config.command`; for something removed, the path in the earlier
   * one.
   */
  path: Type.String(),
  /** Path in the earlier definition, if it differs: steps are matched by id or name, wherever they stand. */
  beforePath: Type.Optional(Type.String()),
  /** Name of the step that contains it. */
  step: Type.Optional(Type.String()),
  /** `moved`: a step whose order among the steps common to both has changed. */
  kind: Type.Enum(changeKinds),
  before: Type.Optional(Type.Unknown()),
  after: Type.Optional(Type.Unknown()),
  /** For texts of several lines. */
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
    Type.String({ maxLength: 64, description: 'Number, tag or channel; by default the current version' }),
  ),
});
export const VersionComparisonSchema = Type.Object({
  from: ComparedVersionSchema,
  to: ComparedVersionSchema,
  isSame: Type.Boolean(),
  changes: Type.Array(DefinitionChangeSchema),
});
export type VersionComparison = Static<typeof VersionComparisonSchema>;

/** Sent with the error if somebody else saved the job first: both sides. */
export const SaveConflictSchema = Type.Object({
  expectedVersion: Type.Integer(),
  /** The current version. */
  theirs: Type.Object({ ...ComparedVersionSchema.properties, definition: JobDefinitionSchema }),
  /** Changes from the expected version to the current one. */
  theirChanges: Type.Array(DefinitionChangeSchema),
  /** Changes from the expected version to the one that was to be saved. */
  yourChanges: Type.Array(DefinitionChangeSchema),
  /** Paths that both sides changed, in different ways. */
  overlapping: Type.Array(Type.String()),
});
export type SaveConflict = Static<typeof SaveConflictSchema>;

export const RollBackRequestSchema = Closed({
  /** Number, tag or channel. */
  version: Type.Union([Type.Integer({ minimum: 1, maximum: 2_147_483_647 }), VersionNameText]),
  /** As in a save. */
  expectedVersion: Type.Optional(Type.Integer({ minimum: 1, maximum: 2_147_483_647 })),
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
  'deleted',
] as const;
/** One change to a job. Histories are listed newest first. */
export const JobHistoryEntrySchema = Type.Object({
  at: Timestamp,
  by: Type.String(),
  kind: Type.Enum(historyKinds),
  /** The change in words. */
  summary: Type.String(),
  /** The version that it created or concerns. */
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
