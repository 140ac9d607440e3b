// Removing what is old: whole partitions of output, then runs in batches. Any server may; one does at a time.
import type { Queryable, Sql, Tx } from '../database/connection.ts';
import { dropDeletedJobs } from '../jobs/jobs.ts';

const retentionLock = 0x0_95c0_5e;
/** Dropping waits for readers of the partition, and everybody who writes output waits behind it. */
const lockTimeout = '2s';

/** Whether it is this server's turn, until the transaction ends. */
export async function holdRetention(tx: Tx): Promise<boolean> {
  const [lock] = await tx<{ got: boolean }[]>`select pg_try_advisory_xact_lock(${retentionLock}) as got`;
  return lock?.got === true;
}

/** The first day of which output is kept, `YYYY-MM-DD`; undefined where none was removed. */
export async function outputKeptFrom(db: Queryable): Promise<string | undefined> {
  const [row] = await db<{ keptFrom: string }[]>`
    select kept_from::text as kept_from from output_retention where isfinite(kept_from)`;
  return row?.keptFrom;
}

/**
 * Moves the day on from which output is kept, to the given one or to the oldest open attempt's; returns it where it
 * has moved.
 */
export async function moveOutputKeptFrom(tx: Tx, keepFrom: string): Promise<string | undefined> {
  const [row] = await tx<{ keptFrom: string }[]>`
    update output_retention o set kept_from = c.day
    from (select least(${keepFrom}::date, (
      select min(attempt_day) from job_run_steps where status in ('running', 'held'))) as day) c
    where o.kept_from < c.day returning o.kept_from::text as kept_from`;
  return row?.keptFrom;
}

/** Partitions of output that hold only days before that from which it is kept, with their size in bytes. */
export async function expiredPartitions(sql: Sql): Promise<{ name: string; bytes: number }[]> {
  return sql<{ name: string; bytes: number }[]>`
    select c.relname as name, pg_total_relation_size(c.oid) as bytes
    from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = 'run_output'::regclass and c.relname ~ '^run_output_[0-9]{8}$'
      and to_date(right(c.relname, 8), 'YYYYMMDD') < (select kept_from from output_retention)
    order by 1`;
}

export async function dropPartition(tx: Tx, name: string): Promise<void> {
  await tx.unsafe(`set local lock_timeout = '${lockTimeout}'`);
  await tx`drop table if exists ${tx(name)}`;
}

/** Deletes some runs that ended before then, with everything of them, output included; returns their ids. */
export async function deleteOldRuns(tx: Tx, endedBefore: Date, limit: number): Promise<number[]> {
  const rows = await tx<{ id: number }[]>`
    select id from job_runs
    where completed_at < ${endedBefore} and status not in ('queued', 'running', 'cancelling', 'held')
    order by completed_at limit ${limit} for update skip locked`;
  const ids = rows.map((row) => row.id);
  if (ids.length === 0) return [];
  await tx`
    delete from run_output o using (
      select s.id, s.attempt_day as day from job_run_steps s where s.job_run_id = any(${ids}::bigint[])
      union
      select s.id, a.attempt_day from job_run_steps s join job_run_step_attempts a on a.job_run_step_id = s.id
      where s.job_run_id = any(${ids}::bigint[])) x
    where o.attempt_day = x.day and o.job_run_step_id = x.id`;
  await tx`delete from job_runs where id = any(${ids}::bigint[])`;
  await dropDeletedJobs(tx);
  return ids;
}
