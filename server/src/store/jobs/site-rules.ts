// Rules that job definitions are checked against, and the data of jobs that is read to check them.
import type { JobState, Labels, SiteRuleSeverity, SiteRuleSubject } from '@opsconductor/protocol';
import type { Reach } from '../../auth/authority.ts';
import type { Queryable, Tx } from '../database/connection.ts';
import { decodeCursor } from '../database/cursor.ts';
import { type Condition, jobWithin } from '../people/visibility.ts';
import type { JobVersionRow } from './job-versions.ts';

export interface SiteRuleFields {
  name: string;
  description: string;
  categoryId: number | null;
  selector: string | null;
  per: SiteRuleSubject;
  condition: string;
  message: string;
  path: string;
  severity: SiteRuleSeverity;
  isEnabled: boolean;
}

export interface SiteRuleRow extends SiteRuleFields {
  id: number;
  /** Path of the category. */
  category: string | null;
  version: number;
  createdBy: string | null;
  createdAt: Date;
  updatedBy: string | null;
  updatedAt: Date;
}

const columns = [
  'name',
  'description',
  'categoryId',
  'selector',
  'per',
  'condition',
  'message',
  'path',
  'severity',
  'isEnabled',
] as const;

export async function insertSiteRule(tx: Tx, rule: SiteRuleFields, userId: number): Promise<number> {
  const row = { ...rule, createdBy: userId, updatedBy: userId };
  const [inserted] = await tx<{ id: number }[]>`
    insert into site_rules ${tx(row, 'createdBy', 'updatedBy', ...columns)} returning id`;
  if (inserted === undefined) throw new Error('insert returned nothing');
  return inserted.id;
}

export async function updateSiteRule(
  tx: Tx,
  id: number,
  rule: SiteRuleFields,
  userId: number,
): Promise<void> {
  await tx`
    update site_rules set ${tx(rule, ...columns)}, version = version + 1, updated_by = ${userId},
      updated_at = clock_timestamp()
    where id = ${id}`;
}

export async function deleteSiteRule(tx: Tx, id: number): Promise<void> {
  await tx`delete from site_rules where id = ${id}`;
}

export async function countSiteRules(tx: Tx): Promise<number> {
  const [row] = await tx<{ count: number }[]>`select count(*)::int as count from site_rules`;
  return row?.count ?? 0;
}

/** Locks and returns a rule; `undefined` if there is none. */
export async function lockSiteRule(tx: Tx, id: number): Promise<SiteRuleRow | undefined> {
  const locked = await tx`select 1 from site_rules where id = ${id} for update`;
  return locked.length === 0 ? undefined : findSiteRule(tx, id);
}

export async function findSiteRule(sql: Queryable, id: number): Promise<SiteRuleRow | undefined> {
  const [row] = await sql<SiteRuleRow[]>`${selectRules(sql, sql`s.id = ${id}`)}`;
  return row;
}

/** Returns rules by name, one more than `limit` if there are more. */
export async function listSiteRules(
  sql: Queryable,
  { limit, cursor }: { limit: number; cursor?: string | undefined },
): Promise<SiteRuleRow[]> {
  const after = cursor === undefined ? undefined : decodeCursor(cursor, ['string', 'number'] as const);
  const condition = after === undefined ? sql`true` : sql`(s.name, s.id) > (${after[0]}, ${after[1]})`;
  return sql<SiteRuleRow[]>`${selectRules(sql, condition)} order by s.name, s.id limit ${limit + 1}`;
}

/** Returns the rules that definitions are checked against, in the order in which their findings are reported. */
export async function enabledSiteRules(sql: Queryable): Promise<SiteRuleRow[]> {
  return sql<SiteRuleRow[]>`${selectRules(sql, sql`s.is_enabled`)} order by s.name`;
}

/** Returns the names of the rules for jobs in this category. */
export async function siteRulesOfCategory(tx: Tx, categoryId: number): Promise<string[]> {
  const rows = await tx<{ name: string }[]>`
    select name from site_rules where category_id = ${categoryId} order by name`;
  return rows.map(({ name }) => name);
}

function selectRules(sql: Queryable, condition: Condition) {
  return sql`
    select s.id, s.name, s.description, s.category_id, c.name as category, s.selector, s.per, s.condition, s.message,
           s.path, s.severity, s.is_enabled, s.version, cu.name as created_by, s.created_at, uu.name as updated_by,
           s.updated_at
      from site_rules s left join categories c on c.id = s.category_id
      left join users cu on cu.id = s.created_by left join users uu on uu.id = s.updated_by
     where ${condition}`;
}

/** A job with its current version, as it is checked against rules. */
export interface HeldJobRow extends JobVersionRow {
  id: number;
  name: string;
  version: number;
  state: JobState;
  category: string;
  labels: Labels;
  isTemplate: boolean;
  note: string;
  /** With full precision, to tell later whether the job has changed since. */
  updatedAt: string;
}

/** Returns jobs with ids above `after` that are not archived, by id. */
export async function jobsToHold(
  sql: Queryable,
  { after, limit }: { after: number; limit: number },
  reaches: readonly Reach[],
): Promise<HeldJobRow[]> {
  return sql<HeldJobRow[]>`
    ${selectHeld(sql)}
     where j.id > ${after} and j.deleted_at is null and j.state <> 'archived' and ${jobWithin(sql, reaches)}
     order by j.id limit ${limit}`;
}

export async function jobsToHoldById(sql: Queryable, ids: readonly number[]): Promise<HeldJobRow[]> {
  return sql<HeldJobRow[]>`${selectHeld(sql)} where j.id = any(${ids as number[]}::bigint[]) order by j.id`;
}

/** SQL: jobs, also deleted ones, with their current version; to be followed by a condition on the alias `j`. */
export function selectHeld(sql: Queryable) {
  return sql`
    select j.id, j.name, j.version, j.state, c.name as category, j.labels, j.is_template, j.data_key, j.updated_at::text as updated_at,
           v.definition, v.checksum, v.note
      from jobs j join categories c on c.id = j.category_id
      join job_versions v on v.job_id = j.id and v.version = j.version`;
}
