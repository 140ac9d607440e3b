// Lists of runs across jobs: filtered, counted, and within what the caller may see. There may be millions, so what few
// runs have is found without going through all of them.
import { isRunEnded, type RunSort, type RunStatus, runStatuses } from '@opsconductor/protocol';
import type { Reach } from '../../../auth/authority.ts';
import { type Queryable, type Sql, sqlState, unprepared } from '../../database/connection.ts';
import { containsPattern } from '../../database/cursor.ts';
import {
  type Condition,
  jobWithin,
  reachesEverything,
  targetRunOnTargets,
  targetRunWithin,
  wholeRunWithin,
} from '../../people/visibility.ts';
import { type RunRecord, runColumns } from '../runs.ts';

export interface RunFilter {
  statuses?: readonly RunStatus[] | undefined;
  /** For runs that are visible in part: a visible target run must have one of these. Given whenever `statuses` is. */
  partStatuses?: readonly RunStatus[] | undefined;
  jobId?: number | undefined;
  targetId?: number | undefined;
  /** Path of a category of jobs; includes those below it. */
  category?: string | undefined;
  /** Part of the job's name. */
  search?: string | undefined;
  /** Id of the user who started it. */
  createdBy?: number | undefined;
  /** Part of the name of a target. */
  target?: string | undefined;
  /** Number of the version, or the name by which it was requested. */
  version?: string | undefined;
  createdAfter?: Date | undefined;
  createdBefore?: Date | undefined;
  /** Runs that have a target run within these. */
  reaches: readonly Reach[];
}

export interface RunListQuery extends RunFilter {
  sort?: RunSort | undefined;
  /** Only runs after this one in the order of the list. */
  beyond?: number | undefined;
  limit: number;
}

/** The work took longer than it may. */
export class TookTooLong extends Error {}

const queryCancelled = '57014';

/**
 * Runs work that must end within a time limit, however many statements it takes; all of them use one connection. Call
 * `goOn` before each further statement to give the database only the time that is left; otherwise it has what was left
 * at the previous call.
 *
 * @throws {TookTooLong}
 */
export async function listingWithin<T>(
  sql: Sql,
  timeoutMs: number,
  work: (db: Queryable, goOn: () => Promise<void>) => Promise<T>,
): Promise<T> {
  const read = sql.begin('read only', async (tx) => {
    const endMs = performance.now() + timeoutMs;
    const goOn = async () => {
      const leftMs = Math.floor(endMs - performance.now());
      // The database would take 0 as no limit.
      if (leftMs < 1) throw new TookTooLong();
      await tx`select set_config('statement_timeout', ${String(leftMs)}, true)`;
    };
    await goOn();
    return work(tx as unknown as Queryable, goOn);
  }) as Promise<T>;
  return read.catch((error) => {
    throw sqlState(error) === queryCancelled ? new TookTooLong(undefined, { cause: error }) : error;
  });
}

/** Returns a page of runs, the newest first unless it is sorted otherwise. */
export async function listRuns(db: Queryable, query: RunListQuery): Promise<RunRecord[]> {
  const { beyond, limit } = query;
  const isOldest = query.sort === 'oldest';
  const edge = isOldest ? db`and r.id > ${beyond ?? 0}` : db`and r.id < ${beyond ?? 0}`;
  const after = beyond === undefined ? db`` : edge;
  const direction = isOldest ? db`asc` : db`desc`;
  const order = db`order by id ${direction} limit ${limit}`;
  const column = ownIndex(query);
  const first = column === undefined ? db`` : db`${db.unsafe(column)} ${direction},`;
  const fitting = fittingRuns(db, query, {
    select: (condition, from = runsAndJobs(db, query)) => db`(select r.id from ${from}
      where ${condition} ${after} ${idBound(db, query)} order by ${first} id ${direction} limit ${limit})`,
    ofEachJob: { isOldest, after, most: limit, isInOrder: true },
  });
  return unprepared(db<RunRecord[]>`
    ${fitting.first} select ${runColumns(db)}
    where r.id = any(array(select id from (${fitting.ids}) fitting ${order}))
    order by r.id ${isOldest ? db`asc` : db`desc`}`);
}

/** SQL: the runs `r`, with their jobs `j` if anything is asked of these. Without them, an index is often all that is read. */
function runsAndJobs(db: Queryable, { reaches, category, search }: RunFilter): Condition {
  if (reachesEverything(reaches) && category === undefined && search === undefined) return db`job_runs r`;
  return db`job_runs r join jobs j on j.id = r.job_id`;
}

/**
 * SQL: like `runsAndJobs`, but the runs are read first, each with its job, so that they are read in the order of the list.
 * Otherwise the database might read all runs of the jobs that fit, since it takes these for few.
 */
function runsThenJobs(db: Queryable): Condition {
  return db`job_runs r cross join lateral (select x.* from jobs x where x.id = r.job_id offset 0) j`;
}

/**
 * The column by whose index runs are read if a filter asks for one value of it, and for nothing else that has an index.
 * What many runs have, perhaps none of the newer ones have, such as an earlier version. The database doesn't know that,
 * and would go through all runs from the newest on. So it is asked for a range, in the order of that index.
 */
function ownIndex(filter: RunFilter): 'r.job_version' | 'r.version_ref' | 'r.created_by' | undefined {
  const { statuses, jobId, targetId, target, version, createdBy } = filter;
  if ([statuses, jobId, targetId, target].some((value) => value !== undefined)) return undefined;
  if (version === undefined) return createdBy === undefined ? undefined : 'r.created_by';
  if (createdBy !== undefined) return undefined;
  return isNumber(version) ? 'r.job_version' : 'r.version_ref';
}

function isNumber(version: string): boolean {
  return /^\d{1,9}$/.test(version);
}

/** Passing over fewer runs than this is faster than looking up all ids of a longer period. */
const fewBeyond = 10_000;

/**
 * SQL: a bound on the id at which a period begins in the order of the list, if many runs outside of the period come
 * before it. The list is in order of ids, and the database does not know that lower ids are older. They nearly always
 * are, but not so strictly that one run could be located by its neighbors. `+ 0` keeps the database from scanning all
 * runs for the greatest id.
 */
function idBound(db: Queryable, { sort, createdAfter, createdBefore }: RunListQuery): Condition {
  const isOldest = sort === 'oldest';
  const edge = isOldest ? createdAfter : createdBefore;
  if (edge === undefined) return db``;
  const beyond = isOldest
    ? db`x.created_at < ${edge} order by x.created_at`
    : db`x.created_at >= ${edge} order by x.created_at desc`;
  const within = [
    ...(createdAfter === undefined ? [] : [db`x.created_at >= ${createdAfter}`]),
    ...(createdBefore === undefined ? [] : [db`x.created_at < ${createdBefore}`]),
  ].reduce((both, one) => db`${both} and ${one}`);
  const number = (which: Condition) =>
    db`(select count(*) from (select from job_runs x where ${which} limit ${fewBeyond}) counted)`;
  return db`and r.id ${isOldest ? db`>=` : db`<=`} (select case
    when ${number(within)} = ${fewBeyond} and ${number(beyond)} < ${fewBeyond}
      then ${isOldest ? 0 : Number.MAX_SAFE_INTEGER}::bigint
    else (select ${isOldest ? db`min` : db`max`}(x.id + 0) from job_runs x where ${within}) end)`;
}

/** Returns the id of the user that the filter of a list names. */
export async function findStarter(db: Queryable, name: string): Promise<number | undefined> {
  const [row] = await db<{ id: number }[]>`select id from users where lower(name) = lower(${name}) limit 1`;
  return row?.id;
}

/** Counts the matching runs; `most` stands for that many or more. */
export async function countRuns(db: Queryable, filter: RunFilter, most: number): Promise<number> {
  const fitting = fittingRuns(db, filter, {
    select: (condition, from = runsAndJobs(db, filter)) =>
      db`(select r.id from ${from} where ${condition} limit ${most})`,
    ofEachJob: { isOldest: false, after: db``, most, isInOrder: false },
  });
  const [row] = await unprepared(db<{ count: number }[]>`
    ${fitting.first} select count(*)::int as count from (
      select from (${fitting.ids}) fitting limit ${most}) counted`);
  return row?.count ?? 0;
}

/**
 * If no more than this many runs can fit, given the jobs or target runs that do, these are examined instead of all runs.
 */
const fewRuns = 20_000;

interface Listing {
  /** The runs that meet a condition, as many as are asked for and in the order of the list. */
  select: (condition: Condition, from?: Condition) => Condition;
  /** How to get as many of the runs of one job as are asked for; `after` is a condition on the alias `r`. */
  ofEachJob: { isOldest: boolean; after: Condition; most: number; isInOrder: boolean };
}

/**
 * SQL: the ids of runs that match and may be seen, as a union of conditions of which a run matches at most one. So each
 * can be read by its own index and in the order of the list. `first` goes before the whole statement.
 */
function fittingRuns(db: Queryable, filter: RunFilter, listing: Listing) {
  const { ctes, select } = runsOnTargets(db, filter, listing);
  const { first, ids } = seenRuns(db, filter, { ...listing, select });
  return { first: withAll(db, [...ctes, ...first]), ids };
}

/** Target runs of few runs are all read if they are no more than this, which takes a quarter of a second. */
const manyOfFewRuns = 500_000;
/** Runs have at least this many hosts on average if they count as few with many target runs. */
const hostsOfFew = 20;

/**
 * If few runs are on the targets that are asked for, these are examined: the database expects to meet some of them soon
 * wherever it looks, and would go through all runs. Few runs may have many target runs there, such as those on the
 * thousands of hosts of a former site.
 */
function runsOnTargets(db: Queryable, { target, targetId }: RunFilter, { select }: Listing) {
  if (target === undefined && targetId === undefined) return { ctes: [], select };
  const onTargets = db`${targetId === undefined ? db`true` : db`t.target_id = ${targetId}`}
    and ${target === undefined ? db`true` : db`t.target_name ilike ${containsPattern(target)}`}`;
  const isFew = db`(select so from few_on_targets)`;
  const isOn = db`r.id = any(array(
    select job_run_id from first_on_targets union select job_run_id from dense_on_targets))`;
  return {
    ctes: [
      db`first_on_targets as materialized (
        select t.job_run_id from job_run_targets t where ${onTargets} limit ${fewRuns + 1})`,
      db`is_dense as materialized (
        select count(*) > ${fewRuns} and count(*) >= ${hostsOfFew} * count(distinct job_run_id) as so
        from first_on_targets)`,
      db`dense_on_targets as materialized (
        select found.job_run_id, count(*) as target_runs from (
          select t.job_run_id from job_run_targets t where (select so from is_dense) and ${onTargets}
          limit ${manyOfFewRuns + 1}) found
        group by found.job_run_id)`,
      db`few_on_targets as materialized (select case when (select so from is_dense)
        then (select count(*) <= ${fewRuns} and sum(target_runs) <= ${manyOfFewRuns} from dense_on_targets)
        else (select count(*) <= ${fewRuns} from first_on_targets) end as so)`,
    ],
    select: (condition: Condition, from?: Condition) =>
      union(db, [
        select(db`${isFew} and ${isOn} and ${condition}`),
        select(db`not ${isFew} and ${condition}`, from),
      ]),
  };
}

function seenRuns(
  db: Queryable,
  filter: RunFilter,
  listing: Listing,
): { first: Condition[]; ids: Condition } {
  const { reaches, partStatuses } = filter;
  const also = fits(db, filter);
  const seesJobs = reaches.every(({ everywhere, categoryIds }) => everywhere || categoryIds.length > 0);
  const whole = seesJobs ? runsOfJobs(db, filter, listing) : { ctes: [], ids: [] };
  if (reachesEverything(reaches)) return { first: whole.ctes, ids: union(db, whole.ids) };
  const inStatus =
    partStatuses === undefined ? db`true` : db`tr.status = any(${partStatuses as string[]}::text[])`;
  // Without this, a status that no part is in would be looked for in all runs there ever were.
  const mayFit =
    partStatuses === undefined
      ? db`true`
      : db`${mayHavePartIn(db, partStatuses)} ${mayBePartial(db, filter)}`;
  const seen = db`select from job_run_targets tr where tr.job_run_id = r.id
    and ${inStatus} and ${targetRunWithin(db, reaches)}`;
  const inPart = (exists: Condition) =>
    db`${mayFit} and not ${jobWithin(db, reaches)} and ${exists} and ${also}`;
  const part = inPart(db`exists (${seen})`);
  const onTargets = targetRunOnTargets(db, reaches);
  if (onTargets === undefined)
    return { first: whole.ctes, ids: union(db, [...whole.ids, listing.select(part)]) };
  const mine = (within: Condition) =>
    db`(select tr.job_run_id from job_run_targets tr where ${within} limit ${fewRuns + 1})`;
  // Looked for after what is asked of the job, which is cheaper, and with the targets of a group in a table of hashes (a
  // join would go through them for each run): among a million runs, of which none fits, this decides between 2 s and 25.
  const inOrder = inPart(db`exists (select from job_run_targets tr
    where tr.job_run_id = r.id and j.id = r.job_id and ${inStatus}
      and ${targetRunWithin(db, reaches)} is true offset 0)`);
  const many = partsOfMany(db, filter, listing, { part, inOrder });
  return {
    first: [
      ...whole.ctes,
      db`mine as materialized (${union(db, onTargets.map(mine))})`,
      db`few as materialized (select count(*) <= ${fewRuns} as so from mine)`,
      ...many.ctes,
    ],
    ids: union(db, [
      ...whole.ids,
      listing.select(db`(select so from few) and r.id = any(array(select job_run_id from mine)) and ${part}`),
      ...many.ids,
    ]),
  };
}

/**
 * Parts of runs for a reader of many target runs (`few` says that they are few): if the jobs that fit have few runs,
 * these; otherwise some of the newest runs are likely to fit, so they are read in the order of the list.
 */
function partsOfMany(
  db: Queryable,
  { category, search, jobId }: RunFilter,
  { select }: Listing,
  { part, inOrder }: { part: Condition; inOrder: Condition },
) {
  const filter = { category, search };
  const isAnyJob = category === undefined && search === undefined;
  if (isAnyJob || jobId !== undefined)
    return { ctes: [], ids: [select(db`not (select so from few) and ${inOrder}`, runsThenJobs(db))] };
  return {
    ctes: [
      db`of_any_jobs as materialized (select o.id from jobs j
        cross join lateral (select r.id from job_runs r where r.job_id between j.id and j.id
          order by r.job_id, r.id desc limit ${fewRuns + 1}) o
        where ${jobFits(db, filter)} and not (select so from few) limit ${fewRuns + 1})`,
      db`few_of_any as materialized (select count(*) <= ${fewRuns} as so from of_any_jobs)`,
    ],
    ids: [
      select(db`not (select so from few) and (select so from few_of_any)
        and r.id = any(array(select id from of_any_jobs)) and ${part}`),
      select(
        db`not (select so from few) and not (select so from few_of_any) and ${inOrder}`,
        runsThenJobs(db),
      ),
    ],
  };
}

/**
 * SQL condition on runs `r`: whether one of their target runs can be in one of the given statuses. What a run counts of
 * its ended target runs says so exactly.
 */
function mayHavePartIn(db: Queryable, targetStatuses: readonly RunStatus[]): Condition {
  const inStatus = (statuses: readonly RunStatus[]) => db`r.status = any(${statuses as string[]}::text[])`;
  const ofRun = runStatusesWith(targetStatuses);
  const status = ofRun === undefined ? db`true` : inStatus(ofRun);
  const columns = targetStatuses.map((each) => countedAs[each]);
  if (columns.includes(undefined)) return status;
  const counted = [...new Set(columns)].map((column) => db`r.${db.unsafe(column ?? '')} > 0`);
  return db`${status} and (${counted.reduce((either, one) => db`${either} or ${one}`)})`;
}

/**
 * SQL: if nothing but partial ones are asked for, only runs that tolerate failures. In others a failure makes the part
 * failed, and most failed runs are such.
 */
function mayBePartial(db: Queryable, { statuses }: RunFilter): Condition {
  return statuses?.every((status) => status === 'partial') ? db`and r.max_failures > 0` : db``;
}

/** The column of a run that counts its target runs in a status. */
const countedAs: Partial<Record<RunStatus, string>> = {
  succeeded: 'targets_succeeded',
  failed: 'targets_failed',
  partial: 'targets_failed',
  cancelled: 'targets_cancelled',
  timed_out: 'targets_timed_out',
  unknown: 'targets_unknown',
};

/**
 * In which statuses a run can be that has a target run in one of the given ones; `undefined` if in any. A run has ended
 * when all of its target runs have, and has succeeded only if they all have.
 */
function runStatusesWith(targetStatuses: readonly RunStatus[]): readonly RunStatus[] | undefined {
  if (targetStatuses.includes('succeeded')) return undefined;
  const isOpen = !targetStatuses.some(isRunEnded);
  return runStatuses.filter((status) => status !== 'succeeded' && !(isOpen && isRunEnded(status)));
}

/**
 * Runs that fit and are seen by their jobs. If the jobs that fit have few runs, these are found job by job; otherwise
 * some of the newest runs are likely to fit. If nothing but the job decides, as many runs of each job as are asked for
 * are enough.
 */
function runsOfJobs(db: Queryable, filter: RunFilter, { select, ofEachJob }: Listing) {
  const { reaches, statuses, category, search, jobId } = filter;
  const within = db`${jobWithin(db, reaches)} and ${fits(db, filter)}`;
  const each =
    statuses === undefined
      ? [within]
      : [...new Set(statuses)].map((status) => db`r.status = ${status} and ${within}`);
  const isAnyJob = reachesEverything(reaches) && category === undefined && search === undefined;
  if (isAnyJob || jobId !== undefined) return { ctes: [], ids: each.map((condition) => select(condition)) };
  const isByJob = decidesByJob(filter);
  const { isOldest, after, most } = isByJob ? ofEachJob : allOfEachJob(db);
  // This order and no equality: for `r.job_id = j.id` alone the database might go through the runs of all jobs by id
  // for each job, and expects to meet some of its runs soon.
  const ofJob = db`select r.id from job_runs r where r.job_id between j.id and j.id ${after}
    order by ${isOldest ? db`r.job_id desc, r.id` : db`r.job_id, r.id desc`} limit ${most}`;
  const ofJobs = (atMost: number) => db`(select o.id from jobs j cross join lateral (${ofJob}) o
    where ${jobWithin(db, reaches)} and ${jobFits(db, filter)} limit ${atMost})`;
  if (isByJob && !ofEachJob.isInOrder) return { ctes: [], ids: [ofJobs(most)] };
  const inStatus = statuses === undefined ? db`true` : db`r.status = any(${statuses as string[]}::text[])`;
  return {
    ctes: [
      db`of_jobs as materialized ${ofJobs(fewRuns + 1)}`,
      db`few_of_jobs as materialized (select count(*) <= ${fewRuns} as so from of_jobs)`,
    ],
    ids: [
      db`(select so from few_of_jobs) and r.id = any(array(select id from of_jobs)) and ${inStatus} and ${within}`,
      ...each.map((condition) => db`not (select so from few_of_jobs) and ${condition}`),
    ].map((condition) => select(condition)),
  };
}

function allOfEachJob(db: Queryable): Listing['ofEachJob'] {
  return { isOldest: false, after: db``, most: fewRuns + 1, isInOrder: false };
}

/** Whether no property of a run itself decides if it fits. */
function decidesByJob(filter: RunFilter): boolean {
  const { statuses, createdBy, target, targetId, version, createdAfter, createdBefore } = filter;
  return [statuses, createdBy, target, targetId, version, createdAfter, createdBefore].every(
    (value) => value === undefined,
  );
}

function withAll(db: Queryable, ctes: readonly Condition[]): Condition {
  if (ctes.length === 0) return db``;
  return db`with ${ctes.reduce((all, one) => db`${all}, ${one}`)}`;
}

function union(db: Queryable, selects: readonly Condition[]): Condition {
  return selects.reduce((all, one) => db`${all} union all ${one}`);
}

/** SQL condition on the alias `j`. */
function jobFits(db: Queryable, { category, search }: Pick<RunFilter, 'category' | 'search'>): Condition {
  const conditions: Condition[] = [db`true`];
  if (category !== undefined) {
    conditions.push(db`j.category_id = any(array(select below.id from categories below
      where (select top.id from categories top where top.name = ${category}) = any(below.ancestor_ids)))`);
  }
  if (search !== undefined) conditions.push(db`lower(j.name) like lower(${containsPattern(search)}::text)`);
  return conditions.reduce((both, one) => db`${both} and ${one}`);
}

/** SQL condition on the aliases `r` and `j`. */
function fits(db: Queryable, filter: RunFilter): Condition {
  const { jobId, targetId, createdBy, target, version, createdAfter, createdBefore } = filter;
  const onTarget = (which: Condition) => db`exists (select from job_run_targets t
    where t.job_run_id = r.id and ${which} and ${targetRunWithin(db, filter.reaches, 't')})`;
  const conditions: Condition[] = [jobFits(db, filter)];
  if (jobId !== undefined) conditions.push(db`r.job_id = ${jobId}`);
  if (targetId !== undefined) conditions.push(onTarget(db`t.target_id = ${targetId}`));
  if (target !== undefined) {
    conditions.push(onTarget(db`t.target_name ilike ${containsPattern(target)}`));
  }
  const column = ownIndex(filter);
  const has = (name: NonNullable<typeof column>, value: string | number) =>
    name === column
      ? db`${db.unsafe(name)} between ${value} and ${value}`
      : db`${db.unsafe(name)} = ${value}`;
  if (createdBy !== undefined) conditions.push(has('r.created_by', createdBy));
  if (version !== undefined) {
    conditions.push(
      isNumber(version) ? has('r.job_version', Number(version)) : has('r.version_ref', version),
    );
    // Readers of a part are not shown by which name the version was asked for.
    if (!isNumber(version))
      conditions.push(db`(${jobWithin(db, filter.reaches)} or ${wholeRunWithin(db, filter.reaches)})`);
  }
  if (createdAfter !== undefined) conditions.push(db`r.created_at >= ${createdAfter}`);
  if (createdBefore !== undefined) conditions.push(db`r.created_at < ${createdBefore}`);
  return conditions.reduce((both, one) => db`${both} and ${one}`);
}
