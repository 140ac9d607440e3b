// Jobs by the thousand: as an export writes them, and as an import compares and creates them.
import type { JobState, Labels, VersionNameKind } from '@opsconductor/protocol';
import type { Reach } from '../../auth/authority.ts';
import type { StepRules } from '../../jobs/definition/step-rules.ts';
import { type Queryable, type Tx, unprepared } from '../database/connection.ts';
import { jobWithin } from '../people/visibility.ts';
import { fits, type JobFilter } from './job-list.ts';
import { credentialColumns } from './job-versions.ts';

export interface BundledJobRow {
  id: number;
  name: string;
  categoryId: number;
  category: string;
  version: number;
  state: JobState;
  labels: Labels;
  isTemplate: boolean;
  /** Name of the template that it was made from. */
  madeFrom: string | null;
  /** Tags and channels, by name. */
  names: { name: string; kind: VersionNameKind; version: number }[];
}

/**
 * Returns the current state of jobs, by name, up to one more than `limit`. Read their definitions with
 * `readDefinitions`.
 */
export async function selectJobsToExport(
  sql: Queryable,
  selection: { ids: readonly number[] } | { filter: JobFilter },
  reaches: readonly Reach[],
  limit: number,
): Promise<BundledJobRow[]> {
  const filter = 'filter' in selection ? selection.filter : {};
  const named = 'ids' in selection ? sql`j.id = any(${selection.ids as number[]}::bigint[])` : sql`true`;
  return unprepared(sql<BundledJobRow[]>`
    select ${bundledColumns(sql)},
           case when t.id is not null and ${jobWithin(sql, reaches, 't.category_id')} then t.name end as made_from
      from jobs j join categories c on c.id = j.category_id
      left join jobs t on t.id = j.made_from_job_id and t.deleted_at is null
     where ${named} and ${fits(sql, filter, reaches)}
     order by j.name, j.id limit ${limit + 1}`);
}

/** Returns the jobs that have these names, regardless of the caller's reaches. */
export async function findJobsNamed(sql: Queryable, names: readonly string[]): Promise<BundledJobRow[]> {
  return sql<BundledJobRow[]>`
    select ${bundledColumns(sql)}, t.name as made_from
      from jobs j join categories c on c.id = j.category_id
      left join jobs t on t.id = j.made_from_job_id and t.deleted_at is null
     where j.deleted_at is null and j.name = any(${names as string[]}::text[])`;
}

function bundledColumns(sql: Queryable) {
  return sql`j.id, j.name, j.category_id, c.name as category, j.version, j.state, j.labels, j.is_template,
    (select coalesce(jsonb_agg(jsonb_build_object('name', n.name, 'kind', n.kind, 'version', n.version) order by n.name), '[]')
       from job_version_names n where n.job_id = j.id) as names`;
}

/** Returns those of these names that jobs have. */
export async function takenJobNames(sql: Queryable, names: readonly string[]): Promise<Set<string>> {
  const rows = await sql<{ name: string }[]>`
    select name from jobs where deleted_at is null and name = any(${names as string[]}::text[])`;
  return new Set(rows.map(({ name }) => name));
}

export interface DefinitionRow {
  jobId: number;
  version: number;
  definition: Buffer;
  checksum: Buffer;
  dataKey: string;
}

/** Returns sealed versions of jobs. */
export async function readDefinitions(
  sql: Queryable,
  versions: readonly { id: number; version: number }[],
): Promise<DefinitionRow[]> {
  return sql<DefinitionRow[]>`
    select v.job_id, v.version, v.definition, v.checksum, j.data_key
      from unnest(${versions.map(({ id }) => id)}::bigint[], ${versions.map(({ version }) => version)}::int[]) w(id, version)
      join job_versions v on v.job_id = w.id and v.version = w.version
      join jobs j on j.id = v.job_id`;
}

/** Reserves ids for new jobs. */
export async function nextJobIds(tx: Tx, count: number): Promise<number[]> {
  const rows = await tx<{ id: number }[]>`
    select nextval(pg_get_serial_sequence('jobs', 'id')) as id from generate_series(1, ${count}::int)`;
  return rows.map(({ id }) => id);
}

export interface NewBundledJob {
  id: number;
  name: string;
  description: string;
  categoryId: number;
  stepTypes: string[];
  stepCount: number;
  dataKey: string;
  state: JobState;
  labels: Labels;
  isTemplate: boolean;
  definition: Buffer;
  checksum: Buffer;
  stepNames: string[];
  allStepTypes: string[];
  stepCredentials: (string | null)[];
  runAsCredentials: (string | null)[];
  stepRules: readonly StepRules[] | null;
}

/** Creates jobs, each with its first version. */
export async function insertBundledJobs(
  tx: Tx,
  jobs: readonly NewBundledJob[],
  { note, createdBy }: { note: string; createdBy: number },
): Promise<void> {
  const rows = jobs.map((job) => ({
    id: job.id,
    name: job.name,
    description: job.description,
    categoryId: job.categoryId,
    stepTypes: job.stepTypes,
    stepCount: job.stepCount,
    dataKey: job.dataKey,
    createdBy,
    updatedBy: createdBy,
    state: job.state,
    labels: tx.json(job.labels),
    isTemplate: job.isTemplate,
  }));
  await tx`
    insert into jobs (id, name, description, category_id, step_types, step_count, data_key, created_by, updated_by, state,
      labels, is_template)
    overriding system value values ${tx(rows.map((row) => Object.values(row)) as never)}`;
  const versions = jobs.map((job) => [
    job.id,
    1,
    job.definition,
    job.checksum,
    job.stepNames,
    job.allStepTypes,
    ...credentialColumns(job),
    job.stepRules === null ? null : tx.json(job.stepRules as never),
    note,
    createdBy,
  ]);
  await tx`
    insert into job_versions (job_id, version, definition, checksum, step_names, step_types, step_credentials, run_as_credentials,
      step_rules, note, created_by)
    values ${tx(versions as never)}`;
}

export async function insertVersionNames(
  tx: Tx,
  names: readonly { jobId: number; name: string; kind: VersionNameKind; version: number }[],
  setBy: number,
): Promise<void> {
  if (names.length === 0) return;
  const rows = names.map((name) => ({ ...name, setBy }));
  await tx`insert into job_version_names ${tx(rows, 'jobId', 'name', 'kind', 'version', 'setBy')}`;
}

/** Records which templates jobs were made from. Names of no visible template are ignored. */
export async function linkTemplates(
  tx: Tx,
  links: readonly { jobId: number; template: string }[],
  reaches: readonly Reach[],
): Promise<void> {
  await tx`
    update jobs j set made_from_job_id = t.id, made_from_version = t.version
      from unnest(${links.map(({ jobId }) => jobId)}::bigint[], ${links.map(({ template }) => template)}::text[]) l(job_id, template)
      join jobs t on t.name = l.template and t.deleted_at is null and t.is_template and ${jobWithin(tx, reaches, 't.category_id')}
     where j.id = l.job_id and t.id <> j.id`;
}

/** Returns those of these names that visible templates have. */
export async function templatesNamed(
  sql: Queryable,
  names: readonly string[],
  reaches: readonly Reach[],
): Promise<Set<string>> {
  const rows = await sql<{ name: string }[]>`
    select j.name from jobs j
     where j.name = any(${names as string[]}::text[]) and j.deleted_at is null and j.is_template and ${jobWithin(sql, reaches)}`;
  return new Set(rows.map(({ name }) => name));
}

/** Locks jobs in the order of their ids. Runs of them can still be started. */
export async function lockJobs(tx: Tx, ids: readonly number[]): Promise<void> {
  await tx`select 1 from jobs where id = any(${ids as number[]}::bigint[]) order by id for no key update`;
}

/** Returns categories by their paths. */
export async function categoriesNamed(
  sql: Queryable,
  names: readonly string[],
): Promise<{ id: number; name: string }[]> {
  return sql<{ id: number; name: string }[]>`
    select id, name from categories where name = any(${names as string[]}::text[])`;
}
