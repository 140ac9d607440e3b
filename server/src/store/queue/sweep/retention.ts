// Removes old data: whole partitions of output, then runs in batches. Any server may do it; one does at a time.
import type { Queryable, Sql, Tx } from '../../database/connection.ts';
import { dropDeletedJobs } from '../../jobs/jobs.ts';
import { deleteOutputOf, outputIsKept } from '../../runs/run-output.ts';

const retentionLock = 0x0_95c0_5e;
/** Dropping a partition waits for its readers, and everyone who writes output waits behind the drop. */
const lockTimeout = '2s';

/** Returns whether it is this server's turn, until the transaction ends. */
export async function holdRetention(tx: Tx): Promise<boolean> {
  const [lock] = await tx<{ got: boolean }[]>`select pg_try_advisory_xact_lock(${retentionLock}) as got`;
  return lock?.got === true;
}

/** Returns the day from which output is kept, `YYYY-MM-DD`, if output of the given day is not kept any more. */
export async function outputKeptFrom(db: Queryable, day: string): Promise<string | undefined> {
  const [row] = await db<{ keptFrom: string }[]>`
    select kept_from::text as kept_from from output_retention where not ${outputIsKept(db, db`${day}::date`)}`;
  return row?.keptFrom;
}

/**
 * Moves the day from which output is kept forward, to the given day or to the day of the oldest open attempt, whichever
 * is earlier. Returns the new day if it has moved.
 */
export async function moveOutputKeptFrom(tx: Tx, keepFrom: string): Promise<string | undefined> {
  const [row] = await tx<{ keptFrom: string }[]>`
    update output_retention o set kept_from = c.day
    from (select least(${keepFrom}::date,
      (select min(attempt_day) from job_run_steps where status = 'running'),
      (select min(attempt_day) from job_run_steps where status = 'held')) as day) c
    where o.kept_from < c.day returning o.kept_from::text as kept_from`;
  return row?.keptFrom;
}

/**
 * Repairs the day from which output is kept. It is yesterday at the latest, unless a clock was ahead; then it is set
 * back, but no further than to the oldest day that still has a partition, so that output which is visible again is kept
 * for its time. Returns the day if it was set back.
 */
export async function mendOutputKeptFrom(db: Queryable, keptDays = 36_500): Promise<string | undefined> {
  const [row] = await db<{ keptFrom: string }[]>`
    update output_retention set kept_from = least(today.day - 1, greatest(today.day - ${keptDays}::int, (
      select min(${partitionDay(db)}) from ${partitionsOfOutput(db)})))
    from (select (clock_timestamp() at time zone 'UTC')::date as day) today
    where isfinite(kept_from) and kept_from > today.day - 1 returning kept_from::text as kept_from`;
  return row?.keptFrom;
}

function partitionsOfOutput(db: Queryable) {
  return db`(
    select c.oid, c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = 'run_output'::regclass and c.relname ~ '^run_output_[0-9]{8}$') as part`;
}

function partitionDay(db: Queryable) {
  return db`to_date(right(part.relname, 8), 'YYYYMMDD')`;
}

/**
 * Returns the partitions that hold only days before the one from which output is kept, with their sizes in bytes; none
 * while that day needs repair.
 */
export async function expiredPartitions(sql: Sql, now: Date): Promise<{ name: string; bytes: number }[]> {
  return sql<{ name: string; bytes: number }[]>`
    select part.relname as name, pg_total_relation_size(part.oid) as bytes from ${partitionsOfOutput(sql)}
    where ${partitionDay(sql)} < (
      select kept_from from output_retention where kept_from < (${now}::timestamptz at time zone 'UTC')::date)
    order by 1`;
}

/** Drops a partition if it is there. Fails with 55P03 if others use it for longer than 2 s. */
export async function dropPartition(tx: Tx, name: string): Promise<void> {
  await tx.unsafe(`set local lock_timeout = '${lockTimeout}'`);
  await tx`drop table if exists ${tx(name)}`;
}

/** Returns the run that `deleteOldRuns` would begin with. */
export async function oldestRun(
  sql: Sql,
  endedBefore: Date,
  except: readonly number[],
): Promise<number | undefined> {
  const [row] = await sql<{ id: number }[]>`
    select id from job_runs
    where completed_at < ${endedBefore} and status not in ('queued', 'running', 'cancelling', 'held')
      and id <> all(${except as number[]}::bigint[])
    order by completed_at limit 1`;
  return row?.id;
}

/**
 * Deletes the oldest runs that ended before the given time, with everything that belongs to them, output included.
 * Returns their ids.
 *
 * @param most limits on the number of runs and on the sum of their steps; one run is deleted whatever its steps.
 * @param except runs that stay.
 */
export async function deleteOldRuns(
  tx: Tx,
  endedBefore: Date,
  most: { runs: number; steps: number },
  except: readonly number[] = [],
): Promise<number[]> {
  const rows = await tx<{ id: number }[]>`
    with old as (
      select id, completed_at, total_steps from job_runs
      where completed_at < ${endedBefore} and status not in ('queued', 'running', 'cancelling', 'held')
        and id <> all(${except as number[]}::bigint[])
      order by completed_at limit ${most.runs}
    ), counted as (
      select id, sum(total_steps) over w as steps, row_number() over w as n from old
      window w as (order by completed_at, id)
    )
    select r.id from counted c join job_runs r on r.id = c.id
    where c.steps <= ${most.steps} or c.n = 1 for update of r skip locked`;
  const ids = rows.map((row) => row.id);
  if (ids.length === 0) return [];
  await deleteOutputOf(tx, ids);
  await tx`delete from job_runs where id = any(${ids}::bigint[])`;
  await dropDeletedJobs(tx);
  return ids;
}
