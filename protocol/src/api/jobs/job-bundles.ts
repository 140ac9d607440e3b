// Many jobs as one file: exported from one installation, imported into another by a plan, or converted from another
// scheduler's files. A bundle has nothing of the installation that it comes from but names.
import { type Static, Type } from 'typebox';
import { limits } from '../../limits.ts';
import { jobStates } from '../../states.ts';
import { Closed, ErrorDetailSchema, Id, Nullable, Page, pageQuery, Timestamp } from '../common.ts';
import { DisplayName, descriptionPattern } from '../text.ts';
import { DefinitionChangeSchema } from './job-versions.ts';
import { JobDefinitionSchema, jobFilters, VersionNameText } from './jobs.ts';

export const bundleMark = 'opsconductor-jobs';
export const bundleVersion = 1;
export const bundleFormats = ['yaml', 'json'] as const;
export type BundleFormat = (typeof bundleFormats)[number];

const Names = Type.Array(VersionNameText, { maxItems: limits.maxNamesPerJob, uniqueItems: true });
/** One job of a bundle. What it doesn't say of state, tags and channels stays as it is where the job is there already. */
export const BundledJobSchema = Closed({
  /** As people write it, with category, labels and whether it is a template. */
  definition: JobDefinitionSchema,
  state: Type.Optional(Type.Enum(jobStates)),
  /** Tags of the version that is exported. */
  tags: Type.Optional(Names),
  /** Channels that point to the version that is exported. */
  channels: Type.Optional(Names),
  /** Name of the template that it was made from. */
  made_from: Type.Optional(DisplayName()),
});
export type BundledJob = Static<typeof BundledJobSchema>;
export const JobBundleSchema = Closed({
  format: Type.Literal(bundleMark),
  version: Type.Literal(bundleVersion),
  jobs: Type.Array(BundledJobSchema, { maxItems: limits.maxJobsPerBundle }),
  /** Jobs that the file was to have, and why it has them not: their definitions could not be opened. */
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
      description: `Ids with commas, ${limits.maxExportedIds} at most, in place of filters`,
    }),
  ),
  format: Type.Optional(Type.Enum(bundleFormats, { default: 'yaml' })),
});
export type ExportJobsQuery = Static<typeof ExportJobsQuerySchema>;

/** What the file is: a bundle of ours, or jobs as Rundeck exports them in YAML. */
export const importFormats = ['bundle', 'rundeck'] as const;
export type ImportFormat = (typeof importFormats)[number];
/**
 * What becomes of a job of the file whose name a job here has that differs: `update` saves it as that job's next version,
 * `skip` leaves that job as it is, `copy` makes another job under a free name, `ask` makes it a conflict, to be settled
 * one by one.
 */
export const importChoices = ['update', 'skip', 'copy'] as const;
export type ImportChoice = (typeof importChoices)[number];
export const existingTreatments = [...importChoices, 'ask'] as const;
export type ExistingTreatment = (typeof existingTreatments)[number];
const ImportNote = Type.String({
  maxLength: 1_000,
  pattern: descriptionPattern,
  description: 'Why; the note of each version that it makes. Site rules may ask for it',
});
export const CreateJobImportQuerySchema = Closed({
  format: Type.Optional(Type.Enum(importFormats, { default: 'bundle' })),
  existing: Type.Optional(
    Type.Enum(existingTreatments, {
      default: 'update',
      description: 'What becomes of jobs whose name is there already and that differ',
    }),
  ),
  note: Type.Optional(ImportNote),
});
export type CreateJobImportQuery = Static<typeof CreateJobImportQuerySchema>;

/**
 * reading: the file is read, checked and compared · refused: something is wrong with it, nothing is planned · planned:
 * waits to be applied · applying · applied · interrupted: the server that was at it has stopped, or it failed; nothing
 * was changed.
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

/** left_out: a step or job is not carried over · dropped: a setting is not · changed: carried over as something else · note: look at it. */
export const importFindingKinds = ['left_out', 'dropped', 'changed', 'note'] as const;
export const ImportFindingSchema = Type.Object({
  kind: Type.Enum(importFindingKinds),
  /** Name of the job in the file. */
  job: Nullable(Type.String()),
  /** Where in the file: line and column from 1. */
  line: Type.Integer(),
  column: Type.Integer(),
  /** What it is about, as the file calls it: `sequence.commands[1].jobref`. */
  path: Type.String(),
  /** A sentence or two: what it is, what became of it, and what to do. */
  message: Type.String(),
});
export type ImportFinding = Static<typeof ImportFindingSchema>;

/** Something wrong with the file, or with what the caller may do with it. `path` begins at the whole file: `jobs[3].definition.name`. */
export const ImportProblemSchema = Type.Object({
  ...ErrorDetailSchema.properties,
  /** Name of the job that it is of. */
  job: Nullable(Type.String()),
});
export type ImportProblem = Static<typeof ImportProblemSchema>;

export const importActions = ['create', 'update', 'unchanged', 'skip', 'conflict'] as const;
export type ImportAction = (typeof importActions)[number];
/**
 * exists: a job of this name is there and differs, and it is to be asked what becomes of it · duplicate: the file has the
 * name twice · name_taken: a job that the caller may not change has the name · archived: the job of this name is archived
 * and must be restored first · state: the job can't come from its state into that of the file · tag: a tag of it names
 * another version, and tags never move · unreadable: what is stored of the job of this name can't be opened.
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
  /** In the file, from 1. */
  position: Type.Integer(),
  action: Type.Enum(importActions),
  /** What the job is called afterwards; of a copy the free name. */
  name: Type.String(),
  /** What the file calls it. */
  fileName: Type.String(),
  category: Type.String(),
  stepCount: Type.Integer(),
  isTemplate: Type.Boolean(),
  /** The job that is there; null for what is to be created. Of what was created, that job, once applied. */
  jobId: Nullable(Id),
  /** Where the job begins in the file. */
  line: Type.Integer(),
  /** Field by field, as between two versions; beside the definition `state`, `tags`, `channels`, `made_from`. */
  changes: Type.Array(DefinitionChangeSchema),
  conflict: Nullable(Type.Object({ reason: Type.Enum(importConflictReasons), message: Type.String() })),
  /** What was chosen for this job; null where the import’s own choice holds. */
  choice: Nullable(Type.Enum(importChoices)),
  /** What may be chosen. */
  choices: Type.Array(Type.Enum(importChoices)),
  /** How many findings there are of it. */
  findingCount: Type.Integer(),
};
export const JobImportItemSchema = Type.Object(itemFields);
export type JobImportItem = Static<typeof JobImportItemSchema>;
export const JobImportItemDetailSchema = Type.Object({
  ...itemFields,
  /** As it will be saved, with defaults filled in. */
  definition: JobDefinitionSchema,
  /** What it begins as, or comes to; null: as it is. */
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
  /** Of what it is at: reading and planning, or applying. */
  percent: Type.Integer({ minimum: 0, maximum: 100 }),
  /** Jobs of the file done so far, and in all as far as is known. */
  jobsDone: Type.Integer(),
  jobsTotal: Nullable(Type.Integer()),
  /** What it is at or has come to, in a sentence. */
  message: Type.String(),
  createdAt: Timestamp,
  createdBy: Nullable(Type.String()),
  /** It can't be applied any more after this. */
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
  /** What is wrong with the file, the first of them in its order. */
  problems: Type.Array(ImportProblemSchema),
  /** What could not be carried over or was changed, the first of them in the order of the file. */
  findings: Type.Array(ImportFindingSchema),
  /** Categories that will be made. */
  newCategories: Type.Array(Type.String()),
  ...Page(JobImportItemSchema).properties,
});
export type JobImport = Static<typeof JobImportSchema>;
export const JobImportQuerySchema = Closed({
  ...pageQuery,
  action: Type.Optional(Type.Enum(importActions)),
  /** A part of the name. */
  search: Type.Optional(Type.String({ maxLength: 100 })),
});
export type JobImportQuery = Static<typeof JobImportQuerySchema>;

/** One of both, or both: for all jobs that are there and differ, and for single ones, which stand before. */
export const ImportChoicesRequestSchema = Closed({
  existing: Type.Optional(Type.Enum(existingTreatments)),
  items: Type.Optional(
    Type.Array(
      Closed({
        position: Type.Integer({ minimum: 1, maximum: limits.maxJobsPerBundle }),
        /** Null: as the import has it for all. */
        choice: Nullable(Type.Enum(importChoices)),
        /** For `copy`: what it is called; a free name unless told. */
        name: Type.Optional(DisplayName()),
      }),
      { minItems: 1, maxItems: 1_000 },
    ),
  ),
});
export type ImportChoicesRequest = Static<typeof ImportChoicesRequestSchema>;
export const ApplyJobImportRequestSchema = Closed({
  /** In place of the one that the import was begun with. */
  note: Type.Optional(ImportNote),
});
export type ApplyJobImportRequest = Static<typeof ApplyJobImportRequestSchema>;

/** What became of jobs of another scheduler, without importing them. */
export const ConvertedJobsSchema = Type.Object({
  bundle: JobBundleSchema,
  /** The same, as a file. */
  yaml: Type.String(),
  /** What could not be carried over or was changed, in the order of the file. */
  findings: Type.Array(ImportFindingSchema),
  findingCount: Type.Integer(),
});
export type ConvertedJobs = Static<typeof ConvertedJobsSchema>;
