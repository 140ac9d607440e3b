// Rights as conditions of a query: what a caller may not see is neither in its result nor in its counts. Each function
// returns a boolean expression on an alias. A row must lie in every reach (that of the grants, and that of the API
// token).

import type { PendingQuery, Row } from 'postgres';
import type { Reach } from '../../auth/authority.ts';
import type { Queryable } from '../database/connection.ts';

/** A condition, to be put after `and`. */
export type Condition = PendingQuery<Row[]>;

/** The reaches of the server itself, which acts on nobody's behalf. */
export const unrestricted: readonly Reach[] = [];

/** Whether these leave nothing out, so that no condition is needed. */
export function reachesEverything(reaches: readonly Reach[]): boolean {
  return reaches.every((reach) => reach.everywhere);
}

/** Condition on jobs and categories, by the category. `category` is the column's name: `j.category_id`. */
export function jobWithin(sql: Queryable, reaches: readonly Reach[], category = 'j.category_id') {
  return all(
    sql,
    reaches,
    (reach) => sql`${sql.unsafe(category)} = any(${reach.categoryIds as number[]}::bigint[])`,
  );
}

/** Condition on targets, by their segment or a group that contains them. `alias` is that of `targets`. */
export function targetWithin(sql: Queryable, reaches: readonly Reach[], alias = 't') {
  return all(sql, reaches, (reach) => one(sql, targetIn(sql, reach, `${alias}.segment_id`, `${alias}.id`)));
}

/**
 * Condition on target runs: those of a job, or on a target, that the caller may see. `alias` is that of
 * `job_run_targets`, `job` that of `jobs`.
 */
export function targetRunWithin(sql: Queryable, reaches: readonly Reach[], alias = 'tr', job = 'j') {
  return all(sql, reaches, (reach) =>
    one(sql, [
      ...among(sql, `${job}.category_id`, reach.categoryIds),
      ...targetIn(sql, reach, `${alias}.segment_id`, `${alias}.target_id`),
    ]),
  );
}

/**
 * Target runs that the caller may see whatever their job is, as alternative conditions, each for an index of its own.
 * Returns `undefined` if this can't be separated from the job: a grant may cover the job while the token's bounds cover
 * the target, or the other way around. The alias is `tr`.
 */
export function targetRunOnTargets(sql: Queryable, reaches: readonly Reach[]): Condition[] | undefined {
  const bounded = reaches.filter((reach) => !reach.everywhere);
  const [reach] = bounded;
  if (reach === undefined) return undefined;
  const isByJob = bounded.every((each) => each.segmentIds.length === 0 && each.targetGroupIds.length === 0);
  if (isByJob) return [sql`false`];
  return bounded.length > 1 ? undefined : targetIn(sql, reach, 'tr.segment_id', 'tr.target_id');
}

/** Condition on runs that have a target run which the caller may see. Aliases are those of `job_runs` and `jobs`. */
export function runWithin(sql: Queryable, reaches: readonly Reach[], alias = 'r', job = 'j') {
  if (reachesEverything(reaches)) return sql`true`;
  return sql`exists (select from job_run_targets seen where seen.job_run_id = ${sql.unsafe(`${alias}.id`)}
    and ${targetRunWithin(sql, reaches, 'seen', job)})`;
}

/** Condition on runs of which the right covers every target run. Aliases are those of `job_runs` and `jobs`. */
export function wholeRunWithin(sql: Queryable, reaches: readonly Reach[], alias = 'r', job = 'j') {
  if (reachesEverything(reaches)) return sql`true`;
  return sql`not exists (select from job_run_targets other where other.job_run_id = ${sql.unsafe(`${alias}.id`)}
    and not coalesce(${targetRunWithin(sql, reaches, 'other', job)}, false))`;
}

/**
 * Condition on segments that a right is on, and with `containing` also those that have a target of a group that a right
 * is on.
 */
export function segmentWithin(
  sql: Queryable,
  reaches: readonly Reach[],
  segment = 's.id',
  options: { containing?: boolean } = {},
) {
  return all(sql, reaches, (reach) => {
    const named = sql`${sql.unsafe(segment)} = any(${reach.segmentIds as number[]}::bigint[])`;
    if (options.containing !== true || reach.targetGroupIds.length === 0) return named;
    return sql`(${named} or exists (select from target_group_members m join targets mt on mt.id = m.target_id
      where m.target_group_id = any(${reach.targetGroupIds as number[]}::bigint[])
        and mt.segment_id = ${sql.unsafe(segment)}))`;
  });
}

/**
 * Condition on target groups that a right is on, and with `containing` also those that contain a target that it is on.
 */
export function targetGroupWithin(
  sql: Queryable,
  reaches: readonly Reach[],
  group = 'g.id',
  options: { containing?: boolean } = {},
): Condition {
  if (reachesEverything(reaches)) return sql`true`;
  const named = all(
    sql,
    reaches,
    (reach) => sql`${sql.unsafe(group)} = any(${reach.targetGroupIds as number[]}::bigint[])`,
  );
  if (options.containing !== true) return named;
  return sql`(${named} or exists (select from target_group_members gm join targets gt on gt.id = gm.target_id
    where gm.target_group_id = ${sql.unsafe(group)} and ${targetWithin(sql, reaches, 'gt')}))`;
}

/** Condition on inventories, by their segment. For an inventory without a segment, the right must apply everywhere. */
export function inventoryWithin(
  sql: Queryable,
  reaches: readonly Reach[],
  segment = 'i.segment_id',
): Condition {
  if (reachesEverything(reaches)) return sql`true`;
  return sql`coalesce(${segmentWithin(sql, reaches, segment)}, false)`;
}

/** Condition on import plans: the right must cover all segments that the plan concerns. */
export function inventoryPlanWithin(sql: Queryable, reaches: readonly Reach[], alias = 'p'): Condition {
  if (reachesEverything(reaches)) return sql`true`;
  return sql`not exists (select from unnest(${sql.unsafe(`${alias}.segment_ids`)}) as concerned(id)
    where not ${segmentWithin(sql, reaches, 'concerned.id')})`;
}

/** Condition on job imports: the right must cover all categories that the import concerns. */
export function jobImportWithin(sql: Queryable, reaches: readonly Reach[], alias = 'i'): Condition {
  if (reachesEverything(reaches)) return sql`true`;
  return sql`not exists (select from unnest(${sql.unsafe(`${alias}.category_ids`)}) as concerned(id)
    where not ${jobWithin(sql, reaches, 'concerned.id')})`;
}

/**
 * Condition on rows of the audit log, by where they happened; rows about a target also by the groups that contain it
 * now.
 */
export function auditWithin(sql: Queryable, reaches: readonly Reach[]) {
  return all(sql, reaches, (reach) => {
    const scoped = sql`a.category_id = any(${reach.categoryIds as number[]}::bigint[])
      or a.segment_id = any(${reach.segmentIds as number[]}::bigint[])`;
    if (reach.targetGroupIds.length === 0) return sql`(${scoped})`;
    return sql`(${scoped} or (a.object_kind = 'target' and a.object_id in (
      select m.target_id::text from target_group_members m
      where m.target_group_id = any(${reach.targetGroupIds as number[]}::bigint[]))))`;
  });
}

/** Null for a deleted target that no segment covers. */
function targetIn(sql: Queryable, reach: Reach, segment: string, target: string): Condition[] {
  const { segmentIds, targetGroupIds } = reach;
  if (targetGroupIds.length === 0) return among(sql, segment, segmentIds);
  // Not correlated, so that it is read once for all rows.
  const inGroup = sql`${sql.unsafe(target)} in (select m.target_id from target_group_members m
    where m.target_group_id = any(${targetGroupIds as number[]}::bigint[]))`;
  return [...among(sql, segment, segmentIds), inGroup];
}

/**
 * Returns no condition for no ids: a condition that can't be true would only keep the planner from using an index for
 * the others.
 */
function among(sql: Queryable, column: string, ids: readonly number[]): Condition[] {
  return ids.length === 0 ? [] : [sql`${sql.unsafe(column)} = any(${ids as number[]}::bigint[])`];
}

function one(sql: Queryable, conditions: readonly Condition[]): Condition {
  if (conditions.length === 0) return sql`false`;
  return sql`(${conditions.reduce((either, other) => sql`${either} or ${other}`)})`;
}

/** In parentheses, so that it can be negated. */
function all(sql: Queryable, reaches: readonly Reach[], condition: (reach: Reach) => Condition): Condition {
  const conditions = reaches.filter((reach) => !reach.everywhere).map(condition);
  if (conditions.length === 0) return sql`true`;
  return sql`(${conditions.reduce((both, one) => sql`${both} and ${one}`)})`;
}
