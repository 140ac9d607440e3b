// Names of segments, target groups and labels that the caller may see.
import type { Reach } from '../../auth/authority.ts';
import type { Queryable } from '../database/connection.ts';
import { segmentWithin, targetGroupWithin, targetWithin } from './visibility.ts';

/** Returns a segment that may be seen, or `undefined` if there is none. */
export async function segmentSeen(
  sql: Queryable,
  id: number,
  reaches: readonly Reach[],
): Promise<{ id: number; name: string } | undefined> {
  const [row] = await sql<{ id: number; name: string }[]>`
    select s.id, s.name from segments s
    where s.id = ${id} and ${segmentWithin(sql, reaches, 's.id', { containing: true })}`;
  return row;
}

/** Returns those of these names that belong to segments that may be seen. */
export async function namesOfSegments(
  sql: Queryable,
  names: readonly string[],
  reaches: readonly Reach[],
): Promise<Set<string>> {
  if (names.length === 0) return new Set();
  const rows = await sql<{ name: string }[]>`
    select s.name from segments s
    where s.name = any(${names as string[]}::text[]) and ${segmentWithin(sql, reaches, 's.id', { containing: true })}`;
  return new Set(rows.map((row) => row.name));
}

/** Returns those of these names that belong to target groups that may be seen. */
export async function namesOfGroups(
  sql: Queryable,
  names: readonly string[],
  reaches: readonly Reach[],
): Promise<Set<string>> {
  if (names.length === 0) return new Set();
  const rows = await sql<{ name: string }[]>`
    select g.name from target_groups g
    where g.name = any(${names as string[]}::text[])
      and ${targetGroupWithin(sql, reaches, 'g.id', { containing: true })}`;
  return new Set(rows.map((row) => row.name));
}

/** Returns labels of targets within these reaches, by name: on how many targets, and the most frequent values. */
export async function labelsInUse(
  sql: Queryable,
  most: { names: number; values: number },
  reaches: readonly Reach[],
): Promise<{ name: string; targets: number; values: string[] }[]> {
  return sql<{ name: string; targets: number; values: string[] }[]>`
    with pairs as (
      select label.key as name, label.value, count(*)::int as targets
      from targets t cross join lateral jsonb_each_text(t.labels) label
      where ${targetWithin(sql, reaches)}
      group by label.key, label.value
    ), placed as (
      select *, row_number() over (partition by name order by targets desc, value) as place from pairs
    )
    select name, sum(targets)::int as targets,
      coalesce(array_agg(value order by place) filter (where place <= ${most.values} and value <> ''), '{}') as values
    from placed group by name order by name limit ${most.names}`;
}

/** Returns those of these label names that no target within these reaches has. */
export async function labelsOfNoTarget(
  sql: Queryable,
  names: readonly string[],
  reaches: readonly Reach[],
): Promise<string[]> {
  if (names.length === 0) return [];
  const rows = await sql<{ name: string }[]>`
    select asked.name from unnest(${names as string[]}::text[]) with ordinality as asked(name, place)
    where not exists (
      select from targets t where jsonb_exists(t.labels, asked.name) and ${targetWithin(sql, reaches)})
    order by asked.place`;
  return rows.map((row) => row.name);
}
