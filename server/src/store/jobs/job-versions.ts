// Versions of jobs, which never change, and the names that people give them.
import type { VersionName, VersionNameKind } from '@opsconductor/protocol';
import type { StepRules } from '../../jobs/definition/step-rules.ts';
import type { Queryable, Tx } from '../database/connection.ts';
import { holdFiles } from '../files/files.ts';

export interface JobVersionRow {
  /** Canonical JSON, sealed. */
  definition: Buffer;
  /** SHA-256 of the canonical JSON. */
  checksum: Buffer;
  /** The job's data key, wrapped by the master key. */
  dataKey: string;
}

/**
 * Stores a version of a job and holds the files that it names. `definition` is encrypted, `checksum` is of its plain
 * text.
 */
export async function insertJobVersion(
  tx: Tx,
  version: {
    jobId: number;
    version: number;
    definition: Buffer;
    checksum: Buffer;
    stepNames: string[];
    stepTypes: string[];
    /** For each step, the name of the credential that it asks for. */
    stepCredentials: (string | null)[];
    /** For each step, the name of the credential that its command runs as. */
    runAsCredentials: (string | null)[];
    /** Rules by which attempts of its steps are settled; `null` if no step has rules of its own. */
    stepRules: readonly StepRules[] | null;
    /** Files of the server that its steps name; `null` if there are none. */
    fileNames: string[] | null;
    note: string;
    /** The version that it restores. */
    restores: number | null;
    createdBy: number;
  },
): Promise<void> {
  await tx`
    insert into job_versions (job_id, version, definition, checksum, step_names, step_types, step_credentials,
      run_as_credentials, step_rules, file_names, note, restores, created_by, created_at)
    values (${version.jobId}, ${version.version}, ${version.definition}, ${version.checksum}, ${version.stepNames},
            ${version.stepTypes},
            ${credentialColumns(version)[0]}::text[], ${credentialColumns(version)[1]}::text[],
            ${version.stepRules === null ? null : tx.json(version.stepRules as never)}, ${version.fileNames}::text[],
            ${version.note},
            ${version.restores}, ${version.createdBy}, clock_timestamp())`;
  if (version.fileNames !== null) await holdFiles(tx, version.fileNames);
}

type Names = (string | null)[];

/** Returns null for columns that name no credential: an index covers the versions whose columns are not null. */
export function credentialColumns({
  stepCredentials,
  runAsCredentials,
}: {
  stepCredentials: Names;
  runAsCredentials: Names;
}): [Names | null, Names | null] {
  const isNamed = (names: Names) => names.some((name) => name !== null);
  const runAs = isNamed(runAsCredentials) ? runAsCredentials : null;
  return [runAs !== null || isNamed(stepCredentials) ? stepCredentials : null, runAs];
}

export async function findJobVersion(
  sql: Queryable,
  jobId: number,
  version: number,
): Promise<JobVersionRow | undefined> {
  const [row] = await sql<JobVersionRow[]>`
    select v.definition, v.checksum, j.data_key
      from job_versions v join jobs j on j.id = v.job_id
     where v.job_id = ${jobId} and v.version = ${version}`;
  return row;
}

export interface JobVersionHeadRow {
  version: number;
  createdBy: string;
  createdAt: Date;
  note: string;
  restores: number | null;
  checksum: string;
  stepCount: number;
  names: VersionName[];
}

/** Returns versions of a job below the number `below`, newest first. */
export async function listVersionHeads(
  sql: Queryable,
  jobId: number,
  page: { below: number; limit: number },
): Promise<JobVersionHeadRow[]> {
  return sql<JobVersionHeadRow[]>`
    ${selectHeads(sql)} where v.job_id = ${jobId} and v.version < ${page.below}
     order by v.version desc limit ${page.limit}`;
}

export async function findVersionHead(
  sql: Queryable,
  jobId: number,
  version: number,
): Promise<JobVersionHeadRow | undefined> {
  const [row] = await sql<JobVersionHeadRow[]>`
    ${selectHeads(sql)} where v.job_id = ${jobId} and v.version = ${version}`;
  return row;
}

function selectHeads(sql: Queryable) {
  return sql`
    select v.version, coalesce(u.name, 'deleted user') as created_by, v.created_at, v.note, v.restores,
           encode(v.checksum, 'hex') as checksum, cardinality(v.step_names) as step_count,
           ${namesWhere(sql, sql`n.job_id = v.job_id and n.version = v.version`)} as names
      from job_versions v left join users u on u.id = v.created_by`;
}

/** Returns tags and channels of a job, by name. */
export async function listVersionNames(sql: Queryable, jobId: number): Promise<VersionName[]> {
  const [row] = await sql<{ names: VersionName[] }[]>`
    select ${namesWhere(sql, sql`n.job_id = ${jobId}`)} as names`;
  return row?.names ?? [];
}

function namesWhere(sql: Queryable, condition: ReturnType<Queryable>) {
  return sql`(select coalesce(jsonb_agg(jsonb_build_object('name', n.name, 'kind', n.kind, 'version', n.version,
        'setBy', coalesce(s.name, 'deleted user'),
        'setAt', to_char(n.set_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')) order by n.name), '[]')
      from job_version_names n left join users s on s.id = n.set_by where ${condition})`;
}

/** Returns what a tag or channel of the job names; `undefined` if there is none of this name. */
export async function findVersionName(
  sql: Queryable,
  jobId: number,
  name: string,
): Promise<{ kind: VersionNameKind; version: number } | undefined> {
  const [row] = await sql<{ kind: VersionNameKind; version: number }[]>`
    select kind, version from job_version_names where job_id = ${jobId} and name = ${name}`;
  return row;
}

export async function countVersionNames(sql: Queryable, jobId: number): Promise<number> {
  const [row] = await sql<{ count: number }[]>`
    select count(*)::int as count from job_version_names where job_id = ${jobId}`;
  return row?.count ?? 0;
}

/** Gives a version a name, or moves a channel to it. */
export async function putVersionName(
  tx: Tx,
  name: { jobId: number; name: string; kind: VersionNameKind; version: number; setBy: number },
): Promise<void> {
  await tx`
    insert into job_version_names ${tx(name, 'jobId', 'name', 'kind', 'version', 'setBy')}
    on conflict (job_id, name) do update
      set version = excluded.version, set_by = excluded.set_by, set_at = clock_timestamp()`;
}

export async function deleteVersionName(tx: Tx, jobId: number, name: string): Promise<void> {
  await tx`delete from job_version_names where job_id = ${jobId} and name = ${name}`;
}

/** Returns the version number that a number or a name stands for, or `undefined` if there is none. */
export async function findVersionNumber(
  sql: Queryable,
  jobId: number,
  reference: number | string,
): Promise<number | undefined> {
  const [row] = await sql<{ version: number }[]>`${
    typeof reference === 'number'
      ? sql`select version from job_versions where job_id = ${jobId} and version = ${reference}`
      : sql`select version from job_version_names where job_id = ${jobId} and name = ${reference}`
  }`;
  return row?.version;
}
