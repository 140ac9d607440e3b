// Many jobs as one file: exported from one installation and imported into another by a plan, or converted from another
// scheduler's files. Everything in a bundle is referred to by name, so that it doesn't depend on its installation.
import { type Static, Type } from 'typebox';
import { limits } from '../../limits.ts';
import { jobStates } from '../../states.ts';
import { ErrorDetailSchema } from '../errors.ts';
import { Closed, Id, Nullable, Page, pageQuery, Timestamp } from '../schema-parts.ts';
import { DisplayName, descriptionPattern } from '../text.ts';
import { DefinitionChangeSchema } from './job-versions.ts';
import { JobDefinitionSchema, jobFilters, VersionNameText } from './jobs.ts';

export const bundleMark = 'opsconductor-jobs';
export const bundleVersion = 1;
export const bundleFormats = ['yaml', 'json'] as const;
export type BundleFormat = (typeof bundleFormats)[number];

const Names = Type.Array(VersionNameText, { maxItems: limits.maxNamesPerJob, uniqueItems: true });
/** One job of a bundle. If the job already exists, what the bundle omits of state, tags and channels stays as it is. */
export const BundledJobSchema = Closed({
  /** As people write it, with category, labels and whether it is a template. */
  definition: JobDefinitionSchema,
  state: Type.Optional(Type.Enum(jobStates)),
  /** Tags of the exported version. */
  tags: Type.Optional(Names),
  /** Channels that point to the exported version. */
  channels: Type.Optional(Names),
  /** Name of the template that it was made from. */
  made_from: Type.Optional(DisplayName()),
});
export type BundledJob = Static<typeof BundledJobSchema>;
export const JobBundleSchema = Closed({
  format: Type.Literal(bundleMark),
  version: Type.Literal(bundleVersion),
  jobs: Type.Array(BundledJobSchema, { maxItems: limits.maxJobsPerBundle }),
  /** Jobs that should have been exported but whose definitions could not be opened, with the reason. */
  left_out: Type.Optional(
    Type.Array(Closed({ name: DisplayName(), why: Type.String({ maxLength: 1_000 }) }), {
      maxItems: limits.maxJobsPerBundle,
    }),
  ),
});
export type JobBundle = Static<typeof JobBundleSchema>;

export const ExportJobsQuerySchema = Closed({
  ...jobFilters,
  ids: Type.Optional(
    Type.String({
      minLength: 1,
      maxLength: 12_000,
      pattern: '^[0-9]{1,16}(,[0-9]{1,16})*$',
      description: `Comma-separated ids, at most ${limits.maxExportedIds}, instead of filters`,
    }),
  ),
  format: Type.Optional(Type.Enum(bundleFormats, { default: 'yaml' })),
});
export type ExportJobsQuery = Static<typeof ExportJobsQuerySchema>;

/** Format of the file: our own bundle, or jobs as Rundeck exports them in YAML. */
export const importFormats = ['bundle', 'rundeck'] as const;
export type ImportFormat = (typeof importFormats)[number];
/**
 * What happens to a job of the file whose name already exists here with different content: `update` saves it as that
 * job's next version, `skip` leaves that job as it is, `copy` creates another job under a free name, and `ask` makes it
 * a conflict, to be settled one by one.
 */
export const importChoices = ['update', 'skip', 'copy'] as const;
export type ImportChoice = (typeof importChoices)[number];
export const existingTreatments = [...importChoices, 'ask'] as const;
export type ExistingTreatment = (typeof existingTreatments)[number];
const ImportNote = Type.String({
  maxLength: 1_000,
  pattern: descriptionPattern,
  description: 'Why: the note of each version that the import creates. Site rules may require it',
});
export const CreateJobImportQuerySchema = Closed({
  format: Type.Optional(Type.Enum(importFormats, { default: 'bundle' })),
  existing: Type.Optional(
    Type.Enum(existingTreatments, {
      default: 'update',
      description: 'What happens to jobs whose name already exists and that differ',
    }),
  ),
  note: Type.Optional(ImportNote),
});
export type CreateJobImportQuery = Static<typeof CreateJobImportQuerySchema>;

/**
 * - `reading`: the file is being read, checked and compared.
 * - `refused`: the file has problems; nothing is planned.
 * - `planned`: ready to be applied.
 * - `applying`, `applied`.
 * - `interrupted`: its server stopped or the import failed; nothing was changed.
 */
export const importStatuses = [
  'reading',
  'refused',
  'planned',
  'applying',
  'applied',
  'interrupted',
] as const;
export type ImportStatus = (typeof importStatuses)[number];

/**
 * - `left_out`: a step or job is not carried over.
 * - `dropped`: a setting is not carried over.
 * - `changed`: carried over as something else.
 * - `note`: carried over, but should be reviewed.
 */
export const importFindingKinds = ['left_out', 'dropped', 'changed', 'note'] as const;
export const ImportFindingSchema = Type.Object({
  kind: Type.Enum(importFindingKinds),
  /** Name of the job in the file. */
  job: Nullable(Type.String()),
  /** Position in the file: line and column, from 1. */
  line: Type.Integer(),
  column: Type.Integer(),
  /** The place, in the file's own terms: `sequence.commands[1].jobref`. */
  path: Type.String(),
  /** One or two sentences: what it is, what happened to it, and what to do. */
  message: Type.String(),
});
export type ImportFinding = Static<typeof ImportFindingSchema>;

/**
 * A problem of the file, or something the caller may not do with it. `path` starts at the top of the file:
 * `jobs[3].definition.name`.
 */
export const ImportProblemSchema = Type.Object({
  ...ErrorDetailSchema.properties,
  /** Name of the job with the problem. */
  job: Nullable(Type.String()),
});
export type ImportProblem = Static<typeof ImportProblemSchema>;

export const importActions = ['create', 'update', 'unchanged', 'skip', 'conflict'] as const;
export type ImportAction = (typeof importActions)[number];
/**
 * - `exists`: a job of this name exists and differs, and the import asks what to do with it.
 * - `duplicate`: the file has the name twice.
 * - `name_taken`: the name belongs to a job that the caller may not change.
 * - `archived`: the job of this name is archived and must be restored first.
 * - `state`: the job can't go from its state to the one in the file.
 * - `tag`: a tag in the file already names another version, and tags never move.
 * - `unreadable`: the stored definition of the job of this name can't be opened.
 */
export const importConflictReasons = [
  'exists',
  'duplicate',
  'name_taken',
  'archived',
  'state',
  'tag',
  'unreadable',
] as const;
export type ImportConflictReason = (typeof importConflictReasons)[number];

const itemFields = {
  /** Position in the file, from 1. */
  position: Type.Integer(),
  action: Type.Enum(importActions),
  /** Name of the job after the import; for a copy, the free name. */
  name: Type.String(),
  /** Name in the file. */
  fileName: Type.String(),
  category: Type.String(),
  stepCount: Type.Integer(),
  isTemplate: Type.Boolean(),
  /** The existing job; `null` for one to be created, until the import is applied and there is one. */
  jobId: Nullable(Id),
  /** Line at which the job begins in the file. */
  line: Type.Integer(),
  /** Differences field by field, as between two versions, plus `state`, `tags`, `channels` and `made_from`. */
  changes: Type.Array(DefinitionChangeSchema),
  conflict: Nullable(Type.Object({ reason: Type.Enum(importConflictReasons), message: Type.String() })),
  /** The choice for this job; `null` if the import's own choice applies. */
  choice: Nullable(Type.Enum(importChoices)),
  /** The choices available for it. */
  choices: Type.Array(Type.Enum(importChoices)),
  /** Number of findings about it. */
  findingCount: Type.Integer(),
};
export const JobImportItemSchema = Type.Object(itemFields);
export type JobImportItem = Static<typeof JobImportItemSchema>;
export const JobImportItemDetailSchema = Type.Object({
  ...itemFields,
  /** As it will be saved, with defaults filled in. */
  definition: JobDefinitionSchema,
  /** The state that it will get; `null` if that doesn't change. */
  state: Nullable(Type.Enum(jobStates)),
  findings: Type.Array(ImportFindingSchema),
});
export type JobImportItemDetail = Static<typeof JobImportItemDetailSchema>;

export const ImportCountsSchema = Type.Object({
  create: Type.Integer(),
  update: Type.Integer(),
  unchanged: Type.Integer(),
  skip: Type.Integer(),
  conflict: Type.Integer(),
});
export type ImportCounts = Static<typeof ImportCountsSchema>;

const headFields = {
  id: Type.String(),
  format: Type.Enum(importFormats),
  existing: Type.Enum(existingTreatments),
  note: Type.String(),
  status: Type.Enum(importStatuses),
  /** Progress of the current phase: reading and planning, or applying. */
  percent: Type.Integer({ minimum: 0, maximum: 100 }),
  /** Jobs of the file done so far, and the total as far as it is known. */
  jobsDone: Type.Integer(),
  jobsTotal: Nullable(Type.Integer()),
  /** What it is doing, or how it ended, in one sentence. */
  message: Type.String(),
  createdAt: Timestamp,
  createdBy: Nullable(Type.String()),
  /** It can't be applied after this time. */
  expiresAt: Timestamp,
  appliedAt: Nullable(Timestamp),
  counts: ImportCountsSchema,
  problemCount: Type.Integer(),
  findingCount: Type.Integer(),
};
export const JobImportHeadSchema = Type.Object(headFields);
export type JobImportHead = Static<typeof JobImportHeadSchema>;
export const JobImportHeadsSchema = Type.Object({ items: Type.Array(JobImportHeadSchema) });
export const JobImportSchema = Type.Object({
  ...headFields,
  /** Problems of the file, the first of them in file order. */
  problems: Type.Array(ImportProblemSchema),
  /** What was changed or could not be carried over, the first of them in file order. */
  findings: Type.Array(ImportFindingSchema),
  /** Categories that will be created. */
  newCategories: Type.Array(Type.String()),
  ...Page(JobImportItemSchema).properties,
});
export type JobImport = Static<typeof JobImportSchema>;
export const JobImportQuerySchema = Closed({
  ...pageQuery,
  action: Type.Optional(Type.Enum(importActions)),
  /** Part of the name. */
  search: Type.Optional(Type.String({ maxLength: 100 })),
});
export type JobImportQuery = Static<typeof JobImportQuerySchema>;

/** At least one of the two: for all existing jobs that differ, and for single jobs, which take precedence. */
export const ImportChoicesRequestSchema = Closed({
  existing: Type.Optional(Type.Enum(existingTreatments)),
  items: Type.Optional(
    Type.Array(
      Closed({
        position: Type.Integer({ minimum: 1, maximum: limits.maxJobsPerBundle }),
        /** `null`: the import's own choice applies. */
        choice: Nullable(Type.Enum(importChoices)),
        /** For `copy`: the name of the new job; by default a free name. */
        name: Type.Optional(DisplayName()),
      }),
      { minItems: 1, maxItems: 1_000 },
    ),
  ),
});
export type ImportChoicesRequest = Static<typeof ImportChoicesRequestSchema>;
export const ApplyJobImportRequestSchema = Closed({
  /** Replaces the note that the import was started with. */
  note: Type.Optional(ImportNote),
});
export type ApplyJobImportRequest = Static<typeof ApplyJobImportRequestSchema>;

/** The result of converting another scheduler's jobs, without importing them. */
export const ConvertedJobsSchema = Type.Object({
  bundle: JobBundleSchema,
  /** The bundle as the text of a file. */
  yaml: Type.String(),
  /** What was changed or could not be carried over, in file order. */
  findings: Type.Array(ImportFindingSchema),
  findingCount: Type.Integer(),
});
export type ConvertedJobs = Static<typeof ConvertedJobsSchema>;
