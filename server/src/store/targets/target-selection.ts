// Which targets a selection yields, and what each of them can be run with: one query for any number of targets.
import {
  type ConnectionProtocol,
  parseSelector,
  type SelectionProblem,
  type Selector,
} from '@opsconductor/protocol';
import type { Reach } from '../../auth/authority.ts';
import { type Queryable, unprepared } from '../database/connection.ts';
import { type Condition, targetGroupWithin, targetWithin } from '../people/visibility.ts';
import { hasSigningAgent } from '../runs/run-grants.ts';
import { selectorCondition } from './selector-condition.ts';

export interface SelectionTerms {
  targetIds: readonly number[];
  groupIds: readonly number[];
  selector: Selector | undefined;
}

export interface TargetQuery extends SelectionTerms {
  exclude: SelectionTerms;
}

export interface SelectedRow {
  id: number;
  name: string;
  host: string;
  segmentId: number;
  segmentName: string;
  protocol: ConnectionProtocol;
  problem: SelectionProblem | null;
  /** A credential that a step of the job names and that the segment does not have. */
  missingCredential: string | null;
  /** The credential that it has or inherits, for steps that name none. */
  credentialId: string | null;
  /** Whether an agent of its segment runs only what is signed. */
  signedOnly: boolean;
  /** A jump host on the way to it on which the caller may not use credentials. */
  barredJumpHost: string | null;
}

/** The parts of the caller's authority that matter for a selection. */
export interface SelectionReaches {
  read: readonly Reach[];
  run: readonly Reach[];
  credentials: readonly Reach[];
}

export interface SelectionOptions {
  /** The job whose steps may name credentials. */
  jobId?: number | undefined;
  /** Version of the job; the current one by default. */
  jobVersion?: number | undefined;
  /** Maximum number of targets. */
  limit: number;
}

/**
 * Returns the selected targets that may be seen, those given by id first and in that order. Targets selected by group
 * or selector must be active.
 */
export async function selectTargets(
  sql: Queryable,
  query: TargetQuery,
  reaches: SelectionReaches,
  options: SelectionOptions,
): Promise<SelectedRow[]> {
  const selection = sql<SelectedRow[]>`
    with ${chosen(sql, query, reaches, options)}
    select id, name, host, segment_id, segment_name, protocol, problem, missing_credential, credential_id,
      signed_only, barred_jump_host
    from chosen
    order by place, segment_name, name, id`;
  return sent(query, selection);
}

export interface SelectionSummary {
  total: number;
  /** Those of the requested ids that are selected. */
  foundIds: number[];
  segments: { id: number; name: string; count: number; runnable: number }[];
  problems: { problem: SelectionProblem; count: number; targets: string[] }[];
  credentials: { name: string; segmentName: string; count: number }[];
  withoutHostKey: number;
  items: Omit<
    SelectedRow,
    'missingCredential' | 'credentialId' | 'protocol' | 'signedOnly' | 'barredJumpHost'
  >[];
}

/** Summarizes the same targets: counts by segment, problems with the first names, and a page of the targets. */
export async function summarizeSelection(
  sql: Queryable,
  query: TargetQuery,
  reaches: SelectionReaches,
  options: SelectionOptions & { page: { offset: number; limit: number }; maxNamed: number },
): Promise<SelectionSummary> {
  const { page, maxNamed } = options;
  const summary = sql<SelectionSummary[]>`
    with ${chosen(sql, query, reaches, options)}, alike as materialized (
      -- Thousands of targets differ in little, so counts are made over these groups.
      select segment_id, segment_name, credential_id, problem, count(*) as n from chosen
      group by segment_id, segment_name, credential_id, problem
    )
    select
      (select coalesce(sum(n), 0)::int from alike) as total,
      array(select id from chosen where place is not null) as found_ids,
      (select coalesce(jsonb_agg(x order by x.name), '[]') from (
        select segment_id as id, segment_name as name, sum(n) as count,
          coalesce(sum(n) filter (where problem is null), 0) as runnable
        from alike group by segment_id, segment_name) x) as segments,
      (select coalesce(jsonb_agg(x), '[]') from (
        -- The first names of each problem are looked up separately, because sorting all names would be most of the
        -- cost.
        select p.problem, p.count, array(
          select c.name from chosen c where c.problem = p.problem order by c.place, c.segment_name, c.name
          limit ${maxNamed}) as targets
        from (select problem, sum(n) as count from alike where problem is not null group by problem) p) x) as problems,
      (select count(*)::int from chosen where not exists (
        select from target_host_keys k where k.target_id = chosen.id and k.state = 'accepted')) as without_host_key,
      (select coalesce(jsonb_agg(x order by x.name, x."segmentName"), '[]') from (
        select c.name, alike.segment_name as "segmentName", sum(alike.n) as count
        from alike join credentials c on c.segment_id = alike.segment_id and (c.name in (select need.name from need)
          or c.id = alike.credential_id
            and (not exists (select from need) or exists (select from need where need.name is null)))
        group by c.name, alike.segment_name) x) as credentials,
      (select coalesce(jsonb_agg(x), '[]') from (
        select id, name, host, segment_id as "segmentId", segment_name as "segmentName", problem
        from chosen order by place, segment_name, name, id offset ${page.offset} limit ${page.limit}) x) as items`;
  const [row] = await sent(query, summary);
  if (row === undefined) throw new Error('aggregates answered nothing');
  return row;
}

function sent<T extends PromiseLike<unknown>>(query: TargetQuery, statement: T): T {
  const isAnyText = query.selector !== undefined || query.exclude.selector !== undefined;
  return isAnyText ? unprepared(statement) : statement;
}

/** SQL table expressions; the last one, `chosen`, has the targets and what keeps each of them from being run on. */
function chosen(sql: Queryable, query: TargetQuery, reaches: SelectionReaches, options: SelectionOptions) {
  const ids = query.targetIds as number[];
  // If only ids are given, each is looked up; otherwise all targets are scanned once.
  const others = query.groupIds.length > 0 || query.selector !== undefined;
  const asked = others
    ? sql`targets t left join asked on asked.id = t.id
      where (asked.id is not null or (t.is_active and ${selectedByTerms(sql, { ...query, targetIds: [] })})) and`
    : sql`asked join targets t on t.id = asked.id where`;
  return sql`
    asked as materialized (
      select x.id, x.place from unnest(${ids}::bigint[]) with ordinality as x(id, place)
    ), sel as materialized (
      select t.id, t.name, t.host, t.segment_id, t.is_active, t.settings, t.credential_id, asked.place,
        ${targetWithin(sql, reaches.run)} as may_run,
        ${targetWithin(sql, reaches.credentials)} as may_use_credentials
      from ${asked} ${targetWithin(sql, reaches.read)} and not ${selectedByTerms(sql, query.exclude)}
      limit ${options.limit}
    ), place as materialized (
      select sg.id, sg.name, sg.settings, sg.credential_id, sg.key_generation > 0 and exists (
        select from agents a where a.segment_id = sg.id and a.state <> 'revoked') as has_agent,
        ${hasSigningAgent(sql, sql`sg.id`)} as signed_only
      from segments sg where sg.id in (select segment_id from sel)
    ), need as materialized (
      select distinct n.name from jobs j
      join job_versions v on v.job_id = j.id and v.version = coalesce(${options.jobVersion ?? null}, j.version)
      cross join lateral unnest(coalesce(v.step_credentials, array[null::text]) || array_remove(v.run_as_credentials, null)) n(name)
      where j.id = ${options.jobId ?? null}
    ), spoken as materialized (
      select distinct case when n.type like 'winrm.%' then 'winrm' else 'ssh' end as protocol from jobs j
      join job_versions v on v.job_id = j.id and v.version = coalesce(${options.jobVersion ?? null}, j.version)
      cross join lateral unnest(v.step_types) n(type)
      where j.id = ${options.jobId ?? null}
    ), absent as materialized (
      select place.id as segment_id, min(need.name) as name from place cross join need
      where need.name is not null
        and not exists (select from credentials c where c.segment_id = place.id and c.name = need.name)
      group by place.id
    ), group_credential as materialized (
      select distinct on (m.target_id) m.target_id, gc.credential_id from target_group_credentials gc
      join target_groups g on g.id = gc.target_group_id
      join target_group_members m on m.target_group_id = g.id
      join sel on sel.id = m.target_id and sel.segment_id = gc.segment_id and sel.credential_id is null
      order by m.target_id, g.priority desc, g.name collate "C"
    ), group_protocol as materialized (
      select distinct on (m.target_id) m.target_id, g.settings ->> 'protocol' as protocol
      from target_groups g join target_group_members m on m.target_group_id = g.id
      join sel on sel.id = m.target_id
      where jsonb_exists(g.settings, 'protocol')
      order by m.target_id, g.priority desc, g.name collate "C"
    ), group_jump_hosts as materialized (
      select distinct on (m.target_id) m.target_id, g.settings -> 'jump_hosts' as jump_hosts
      from target_groups g join target_group_members m on m.target_group_id = g.id
      join sel on sel.id = m.target_id
      where jsonb_exists(g.settings, 'jump_hosts')
      order by m.target_id, g.priority desc, g.name collate "C"
    ), reached as materialized (
      select sel.*, coalesce(sel.settings ->> 'protocol', gp.protocol, place.settings ->> 'protocol', 'ssh') as protocol,
        coalesce(sel.settings -> 'jump_hosts', gj.jump_hosts, place.settings -> 'jump_hosts') as jump_hosts
      from sel join place on place.id = sel.segment_id left join group_protocol gp on gp.target_id = sel.id
      left join group_jump_hosts gj on gj.target_id = sel.id
    ), barred as materialized (
      -- Few jump hosts, through which many ways lead.
      select t.segment_id, t.name from (
        select distinct segment_id, jsonb_array_elements_text(jump_hosts) as name from reached where protocol = 'ssh') hop
      join targets t on t.segment_id = hop.segment_id and t.name = hop.name
      where not ${targetWithin(sql, reaches.credentials)}
    ), chosen as materialized (
      select sel.id, sel.name, sel.host, sel.segment_id, place.name as segment_name, place.signed_only, sel.place,
        sel.protocol, absent.name as missing_credential,
        coalesce(sel.credential_id, gc.credential_id, place.credential_id) as credential_id,
        way.barred as barred_jump_host,
        case
          when not sel.may_run then 'run_forbidden'
          when not sel.may_use_credentials or way.barred is not null then 'credential_forbidden'
          when not sel.is_active then 'inactive'
          when not place.has_agent then 'no_agent'
          when exists (select from spoken where spoken.protocol <> sel.protocol) then 'protocol'
          when absent.name is not null then 'no_credential'
          when sel.credential_id is null and place.credential_id is null and gc.target_id is null
            and not (exists (select from need) and not exists (select from need where need.name is null))
            then 'no_credential'
        end as problem
      from reached sel
      join place on place.id = sel.segment_id
      left join absent on absent.segment_id = sel.segment_id
      left join group_credential gc on gc.target_id = sel.id
      left join lateral (
        -- Jump hosts that follow the target itself in the list are not on the way to it.
        select hop.name as barred from jsonb_array_elements_text(sel.jump_hosts) with ordinality as hop(name, at)
        join barred on barred.segment_id = sel.segment_id and barred.name = hop.name
        where sel.protocol = 'ssh' and exists (select from barred) and not exists (
          select from jsonb_array_elements_text(sel.jump_hosts) with ordinality as own(name, at)
          where own.name = sel.name and own.at <= hop.at)
        order by hop.at limit 1
      ) way on true
    )`;
}

/** SQL condition: the target `t` is named by any of the terms; false if there are none. */
export function selectedByTerms(sql: Queryable, terms: SelectionTerms): Condition {
  const conditions: Condition[] = [];
  if (terms.targetIds.length > 0) {
    conditions.push(sql`t.id = any(${terms.targetIds as number[]}::bigint[])`);
  }
  if (terms.groupIds.length > 0) {
    conditions.push(sql`t.id in (select sm.target_id from target_group_members sm
      where sm.target_group_id = any(${terms.groupIds as number[]}::bigint[]))`);
  }
  if (terms.selector !== undefined) conditions.push(selectorCondition(sql, terms.selector));
  if (conditions.length === 0) return sql`false`;
  return sql`(${conditions.reduce((before, one) => sql`${before} or ${one}`)})`;
}

/** Returns those of these targets that a group's selector selects; none if it has no selector. */
export async function selectedBySelector(
  sql: Queryable,
  text: string | null,
  ids: readonly number[],
): Promise<number[]> {
  if (text === null) return [];
  const rows = await unprepared(sql<{ id: number }[]>`
    select t.id from targets t
    where t.id = any(${ids as number[]}::bigint[]) and ${selectorCondition(sql, parseSelector(text))}`);
  return rows.map((row) => row.id);
}

/** Returns the ids of those of these targets that may be seen. */
export async function targetsSeen(
  sql: Queryable,
  ids: readonly number[],
  reaches: readonly Reach[],
): Promise<Set<number>> {
  if (ids.length === 0) return new Set();
  const rows = await sql<{ id: number }[]>`
    select t.id from targets t where t.id = any(${ids as number[]}::bigint[]) and ${targetWithin(sql, reaches)}`;
  return new Set(rows.map((row) => row.id));
}

/** Returns those of these target groups that may be seen, with their names. */
export async function groupsSeen(
  sql: Queryable,
  ids: readonly number[],
  reaches: readonly Reach[],
): Promise<Map<number, string>> {
  if (ids.length === 0) return new Map();
  const rows = await sql<{ id: number; name: string }[]>`
    select g.id, g.name from target_groups g
    where g.id = any(${ids as number[]}::bigint[])
      and ${targetGroupWithin(sql, reaches, 'g.id', { containing: true })}`;
  return new Map(rows.map((row) => [row.id, row.name]));
}
