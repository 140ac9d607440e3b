// One change to many jobs, each kind in one statement.
import type { JobState, Labels } from '@opsconductor/protocol';
import type { Reach } from '../../auth/authority.ts';
import { type Queryable, type Tx, unprepared } from '../database/connection.ts';
import { fits, type JobFilter } from './job-list.ts';

export interface BulkJobRow {
  id: number;
  name: string;
  categoryId: number;
  category: string;
  state: JobState;
  labels: Labels;
  version: number;
}

/** Locks and returns those of the named or matching jobs that may be seen: up to one more than `limit`, by id. */
export async function selectJobsToChange(
  tx: Tx,
  selection: { ids: readonly number[] } | { filter: JobFilter },
  reaches: readonly Reach[],
  { limit, againstRuns }: { limit: number; againstRuns: boolean },
): Promise<BulkJobRow[]> {
  const filter = 'filter' in selection ? selection.filter : {};
  const named = 'ids' in selection ? tx`j.id = any(${selection.ids as number[]}::bigint[])` : tx`true`;
  // Locked in a separate statement, because the joined rows must not be locked.
  const locked = await unprepared(tx<{ id: number }[]>`
    select j.id from jobs j where ${named} and ${fits(tx, filter, reaches)}
     order by j.id limit ${limit + 1} ${againstRuns ? tx`for update` : tx`for no key update`}`);
  const ids = locked.map(({ id }) => id);
  return tx<BulkJobRow[]>`
    select j.id, j.name, j.category_id, c.name as category, j.state, j.labels, j.version
      from jobs j join categories c on c.id = j.category_id
     where j.id = any(${ids}::bigint[]) and j.deleted_at is null order by j.name, j.id`;
}

export async function setCategoryOfJobs(
  tx: Tx,
  ids: readonly number[],
  categoryId: number,
  updatedBy: number,
): Promise<void> {
  await tx`
    update jobs set category_id = ${categoryId}, updated_at = clock_timestamp(), updated_by = ${updatedBy}
     where id = any(${ids as number[]}::bigint[])`;
}

export async function setLabelsOfJobs(
  tx: Tx,
  ids: readonly number[],
  { set, unset }: { set: Labels; unset: readonly string[] },
  updatedBy: number,
): Promise<void> {
  await tx`
    update jobs set labels = ${labelsAfter(tx, set, unset)}, updated_at = clock_timestamp(), updated_by = ${updatedBy}
     where id = any(${ids as number[]}::bigint[])`;
}

function labelsAfter(sql: Queryable, set: Labels, unset: readonly string[]) {
  return sql`((labels - ${unset as string[]}::text[]) || ${sql.json(set)}::jsonb)`;
}
