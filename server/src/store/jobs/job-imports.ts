// Imports of job files: what they would change, job by job, and their progress.
import type {
  ExistingTreatment,
  ImportAction,
  ImportChoice,
  ImportCounts,
  ImportFormat,
  ImportStatus,
} from '@opsconductor/protocol';
import type { Reach } from '../../auth/authority.ts';
import type { Queryable, Tx } from '../database/connection.ts';
import { containsPattern, decodeCursor } from '../database/cursor.ts';
import { jobImportWithin } from '../people/visibility.ts';

export interface JobImportRow {
  id: string;
  createdBy: number;
  createdByName: string | null;
  format: ImportFormat;
  existing: ExistingTreatment;
  note: string;
  status: ImportStatus;
  dataKey: string;
  percent: number;
  jobsDone: number;
  jobsTotal: number | null;
  reason: string;
  /** Problems and findings, sealed. */
  report: Buffer | null;
  problemCount: number;
  findingCount: number;
  newCategories: string[];
  createdAt: Date;
  expiresAt: Date;
  isExpired: boolean;
  appliedAt: Date | null;
  counts: ImportCounts;
}

export interface JobImportItemRow {
  position: number;
  action: ImportAction;
  name: string;
  fileName: string;
  category: string;
  isTemplate: boolean;
  stepCount: number;
  line: number;
  jobId: number | null;
  base: string | null;
  choice: ImportChoice | null;
  copyName: string | null;
  /** Name of a template. */
  madeFrom: string | null;
  findingCount: number;
  sealed: Buffer;
}

const keptPerUser = 10;
const lifetimeHours = 24;
/** A server that is working on an import reports this every few seconds; after this long it counts as stopped. */
const silentAfterS = 60;

/** Inserts an import. Deletes those that expired a week ago, and those beyond the newest ones of its creator. */
export async function insertImport(
  tx: Tx,
  {
    id,
    createdBy,
    format,
    existing,
    note,
    dataKey,
  }: Pick<JobImportRow, 'id' | 'createdBy' | 'format' | 'existing' | 'note' | 'dataKey'>,
): Promise<void> {
  await tx`
    insert into job_imports (id, created_by, format, existing, note, data_key, expires_at)
    values (${id}, ${createdBy}, ${format}, ${existing}, ${note}, ${dataKey}, now() + ${lifetimeHours} * interval '1 hour')`;
  await tx`
    delete from job_imports where status <> 'applying' and (
      expires_at < now() - interval '7 days' or created_by = ${createdBy} and id not in (
        select id from job_imports where created_by = ${createdBy} order by created_at desc, id limit ${keptPerUser}))`;
}

function selectImports(sql: Queryable, createdBy: number, reaches: readonly Reach[]) {
  return sql`
    select i.*, u.name as created_by_name, i.expires_at <= now() as is_expired,
           (select jsonb_build_object('create', 0, 'update', 0, 'unchanged', 0, 'skip', 0, 'conflict', 0)
                   || coalesce(jsonb_object_agg(action, items), '{}')
              from (select action, count(*) as items from job_import_items where import_id = i.id group by action) c
           ) as counts
      from job_imports i left join users u on u.id = i.created_by
     where i.created_by = ${createdBy} and ${jobImportWithin(sql, reaches)}`;
}

/** Returns the newest imports of a user. */
export async function listImports(
  sql: Queryable,
  createdBy: number,
  reaches: readonly Reach[],
): Promise<JobImportRow[]> {
  return sql<JobImportRow[]>`
    ${selectImports(sql, createdBy, reaches)} order by i.created_at desc, i.id limit ${keptPerUser}`;
}

export async function findImport(
  sql: Queryable,
  id: string,
  createdBy: number,
  reaches: readonly Reach[],
): Promise<JobImportRow | undefined> {
  const [row] = await sql<JobImportRow[]>`${selectImports(sql, createdBy, reaches)} and i.id = ${id}`;
  return row;
}

/** Like `findImport`, but locks the row. */
export async function lockImport(
  tx: Tx,
  id: string,
  createdBy: number,
  reaches: readonly Reach[],
): Promise<JobImportRow | undefined> {
  await tx`select 1 from job_imports where id = ${id} and created_by = ${createdBy} for no key update`;
  return findImport(tx, id, createdBy, reaches);
}

/** Ends imports whose server has stopped. That server can no longer complete them. */
export async function endSilentImports(sql: Queryable, createdBy: number): Promise<void> {
  await sql`
    update job_imports set reason = case status when 'applying'
        then 'The server that applied it has stopped; nothing was changed. Import the file again.'
        else 'The server that read it has stopped. Import the file again.' end, status = 'interrupted'
     where created_by = ${createdBy} and status in ('reading', 'applying')
       and beat_at < clock_timestamp() - ${silentAfterS} * interval '1 second'`;
}

/** Records the progress. Returns false if the import was deleted or ended meanwhile. */
export async function beatImport(
  sql: Queryable,
  id: string,
  { percent, jobsDone, jobsTotal }: { percent: number; jobsDone: number; jobsTotal: number | null },
): Promise<boolean> {
  const { count } = await sql`
    update job_imports set percent = ${percent}, jobs_done = ${jobsDone}, jobs_total = ${jobsTotal}, beat_at = clock_timestamp()
     where id = ${id} and status in ('reading', 'applying')`;
  return count === 1;
}

export async function insertImportItems(
  sql: Queryable,
  importId: string,
  items: readonly JobImportItemRow[],
): Promise<void> {
  if (items.length === 0) return;
  const rows = items.map((item) => ({ importId, ...item }));
  await sql`insert into job_import_items ${sql(rows, ...itemColumns)}`;
}

const itemColumns = [
  'importId',
  'position',
  'action',
  'name',
  'fileName',
  'category',
  'isTemplate',
  'stepCount',
  'line',
  'jobId',
  'base',
  'choice',
  'copyName',
  'madeFrom',
  'findingCount',
  'sealed',
] as const;

/** Writes an item that was planned again. */
export async function updateImportItem(
  tx: Tx,
  importId: string,
  item: Pick<
    JobImportItemRow,
    'position' | 'action' | 'name' | 'jobId' | 'base' | 'choice' | 'copyName' | 'sealed'
  >,
): Promise<void> {
  await tx`
    update job_import_items set action = ${item.action}, name = ${item.name}, job_id = ${item.jobId}, base = ${item.base},
      choice = ${item.choice}, copy_name = ${item.copyName}, sealed = ${item.sealed}
     where import_id = ${importId} and position = ${item.position}`;
}

/** Records that reading is over. Returns false if the import was ended meanwhile. */
export async function endReading(
  tx: Queryable,
  id: string,
  end: {
    status: 'planned' | 'refused';
    report: Buffer;
    problemCount: number;
    findingCount: number;
    newCategories: readonly string[];
    categoryIds: readonly number[];
    jobsTotal: number;
  },
): Promise<boolean> {
  const { count } = await tx`
    update job_imports set status = ${end.status}, report = ${end.report}, problem_count = ${end.problemCount},
      finding_count = ${end.findingCount}, new_categories = ${end.newCategories as string[]}, percent = 100,
      category_ids = ${end.categoryIds as number[]}::bigint[], jobs_done = ${end.jobsTotal}, jobs_total = ${end.jobsTotal}
     where id = ${id} and status = 'reading'`;
  return count === 1;
}

export async function setImportExisting(tx: Tx, id: string, existing: ExistingTreatment): Promise<void> {
  await tx`update job_imports set existing = ${existing} where id = ${id}`;
}

/** Marks an import as being applied, if it was planned. */
export async function startApplying(tx: Tx, id: string): Promise<void> {
  await tx`
    update job_imports set status = 'applying', percent = 0, jobs_done = 0, beat_at = clock_timestamp()
     where id = ${id} and status = 'planned'`;
}

/**
 * Marks the import as applied, in the transaction that applies it. Returns false if it already counts as interrupted;
 * then nothing may be committed.
 */
export async function endApplying(tx: Tx, id: string): Promise<boolean> {
  const { count } = await tx`
    update job_imports set status = 'applied', applied_at = clock_timestamp(), percent = 100, jobs_done = coalesce(jobs_total, 0)
     where id = ${id} and status = 'applying'`;
  return count === 1;
}

/** Marks an import as interrupted, unless it has ended. */
export async function interruptImport(sql: Queryable, id: string, reason: string): Promise<void> {
  await sql`
    update job_imports set status = 'interrupted', reason = ${reason}
     where id = ${id} and status in ('reading', 'applying')`;
}

export async function deleteImport(tx: Tx, id: string): Promise<void> {
  await tx`delete from job_imports where id = ${id}`;
}

export async function deleteImportItems(tx: Queryable, id: string): Promise<void> {
  await tx`delete from job_import_items where import_id = ${id}`;
}

/** Returns items in the order of the file, one more than `limit` if there are more. */
export async function listImportItems(
  sql: Queryable,
  importId: string,
  query: {
    limit: number;
    cursor?: string | undefined;
    action?: ImportAction | undefined;
    search?: string | undefined;
  },
): Promise<JobImportItemRow[]> {
  const { limit, cursor, action, search } = query;
  const after = cursor === undefined ? undefined : decodeCursor(cursor, ['number'] as const);
  const pattern = search === undefined || search === '' ? undefined : containsPattern(search);
  return sql<JobImportItemRow[]>`
    select * from job_import_items
     where import_id = ${importId} and position > ${after?.[0] ?? 0}
       and ${action === undefined ? sql`true` : sql`action = ${action}`}
       and ${pattern === undefined ? sql`true` : sql`(name ilike ${pattern} or file_name ilike ${pattern})`}
     order by position limit ${limit + 1}`;
}

/** Returns up to `limit` items after a position, to iterate over all of them. */
export async function nextImportItems(
  sql: Queryable,
  importId: string,
  after: number,
  limit: number,
): Promise<JobImportItemRow[]> {
  return sql<JobImportItemRow[]>`
    select * from job_import_items where import_id = ${importId} and position > ${after}
     order by position limit ${limit}`;
}

export async function findImportItem(
  sql: Queryable,
  importId: string,
  position: number,
): Promise<JobImportItemRow | undefined> {
  const [row] = await sql<JobImportItemRow[]>`
    select * from job_import_items where import_id = ${importId} and position = ${position}`;
  return row;
}

/** Returns what each item was planned from, without the sealed part. */
export async function listImportBases(
  sql: Queryable,
  importId: string,
): Promise<
  Pick<JobImportItemRow, 'position' | 'action' | 'name' | 'fileName' | 'jobId' | 'base' | 'line'>[]
> {
  return sql<
    Pick<JobImportItemRow, 'position' | 'action' | 'name' | 'fileName' | 'jobId' | 'base' | 'line'>[]
  >`
    select position, action, name, file_name, job_id, base, line from job_import_items
     where import_id = ${importId} order by position`;
}

/** Records which jobs the items have created. */
export async function noteMadeJobs(
  tx: Tx,
  importId: string,
  made: readonly { position: number; jobId: number }[],
): Promise<void> {
  await tx`
    update job_import_items i set job_id = m.job_id
      from unnest(${made.map(({ position }) => position)}::int[], ${made.map(({ jobId }) => jobId)}::bigint[]) m(position, job_id)
     where i.import_id = ${importId} and i.position = m.position`;
}
