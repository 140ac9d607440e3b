// Reads the audit log for people: filtered, and limited to what happened where their rights apply.

import type { SealedRow } from '../../audit/leaf.ts';
import type { Reach } from '../../auth/authority.ts';
import { type Queryable, type Sql, unprepared } from '../database/connection.ts';
import { containsPattern } from '../database/cursor.ts';
import { auditWithin } from '../people/visibility.ts';
import { sealedColumns } from './audit-seals.ts';

export interface AuditFilter {
  actor?: string | undefined;
  actorKind?: string | undefined;
  /** Beginning of the action. */
  action?: string | undefined;
  objectKind?: string | undefined;
  objectId?: string | undefined;
  from?: Date | undefined;
  to?: Date | undefined;
  segmentId?: number | undefined;
  categoryId?: number | undefined;
  address?: string | undefined;
  /** Text that the detail contains. */
  text?: string | undefined;
  reaches: readonly Reach[];
}

export interface FoundAuditRow extends SealedRow {
  segmentName: string | null;
  categoryName: string | null;
  position: number | null;
}

/**
 * Returns rows with ids from `page.from` on and below `page.below`, newest first. Filters without an index read the log
 * backwards, so the database ends the statement after `timeoutMs`. It is planned for its words each time, since what is
 * rare is found by an index and what is frequent without one.
 */
export async function searchAudit(
  sql: Sql,
  filter: AuditFilter,
  page: { from?: number; below: number | undefined; limit: number },
  timeoutMs: number,
): Promise<FoundAuditRow[]> {
  return sql.begin(async (tx) => {
    await tx`select set_config('statement_timeout', ${String(timeoutMs)}, true)`;
    return unprepared(tx<FoundAuditRow[]>`
      select ${sealedColumns(tx)}, l.position, s.name as segment_name, c.name as category_name
      from audit_log a left join audit_leaves l on l.audit_id = a.id
        left join segments s on s.id = a.segment_id left join categories c on c.id = a.category_id
      where ${matching(tx, filter)} and a.id < ${page.below ?? Number.MAX_SAFE_INTEGER} and a.id >= ${page.from ?? 0}
      order by a.id desc limit ${page.limit}`);
  }) as Promise<FoundAuditRow[]>;
}

/**
 * Returns the lowest and the highest id of the rows of a period. Ids nearly follow the time, but a search must not miss
 * a row, so all rows of the period are asked. `+ 0` keeps the database from reading all rows in the order of their ids.
 * Without a row, the lowest is above the highest.
 */
export async function idsOfPeriod(
  sql: Sql,
  { from, to }: Pick<AuditFilter, 'from' | 'to'>,
  timeoutMs: number,
): Promise<{ lowest: number; highest: number }> {
  return sql.begin(async (tx) => {
    await tx`select set_config('statement_timeout', ${String(timeoutMs)}, true)`;
    const [row] = await tx<{ lowest: number; highest: number }[]>`
      select coalesce(min(a.id + 0), 1) as lowest, coalesce(max(a.id + 0), 0) as highest from audit_log a
      where ${within(tx, { from, to })}`;
    return row ?? { lowest: 1, highest: 0 };
  }) as Promise<{ lowest: number; highest: number }>;
}

/** Returns when the first row with this id or a higher one was written. */
export async function timeOfRow(sql: Queryable, id: number): Promise<Date | undefined> {
  const [row] = await sql<{ at: Date }[]>`select at from audit_log where id >= ${id} order by id limit 1`;
  return row?.at;
}

/** Returns a page of an export: rows with ids above `above` and up to `upTo`, oldest first. */
export async function exportAudit(
  sql: Queryable,
  filter: AuditFilter,
  page: { above: number; upTo: number; limit: number },
): Promise<(SealedRow & { position: number | null })[]> {
  return sql<(SealedRow & { position: number | null })[]>`
    select ${sealedColumns(sql)}, l.position
    from audit_log a left join audit_leaves l on l.audit_id = a.id
    where ${matching(sql, filter)} and a.id > ${page.above} and a.id <= ${page.upTo}
    order by a.id limit ${page.limit}`;
}

/** Returns the ids of the oldest and the newest row. If there is none, the newest is before the oldest. */
export async function auditIds(sql: Queryable): Promise<{ oldest: number; newest: number }> {
  const [row] = await sql<{ oldest: number; newest: number }[]>`
    select coalesce(min(id), 1) as oldest, coalesce(max(id), 0) as newest from audit_log`;
  return row ?? { oldest: 1, newest: 0 };
}

/** Returns rows that wait to be sealed, oldest first; they end a full export. */
export async function unsealedAudit(sql: Queryable, limit: number): Promise<SealedRow[]> {
  return sql<SealedRow[]>`
    select ${sealedColumns(sql)} from audit_unsealed u join audit_log a on a.id = u.audit_id
    order by a.id limit ${limit}`;
}

function matching(sql: Queryable, filter: AuditFilter) {
  const equal = (column: string, value: unknown) =>
    value === undefined ? sql`` : sql`and ${sql.unsafe(column)} = ${value as never}`;
  return sql`${auditWithin(sql, filter.reaches)}
    ${equal('a.actor_name', filter.actor)} ${equal('a.actor_kind', filter.actorKind)}
    ${equal('a.object_kind', filter.objectKind)} ${equal('a.object_id', filter.objectId)}
    ${equal('a.segment_id', filter.segmentId)} ${equal('a.category_id', filter.categoryId)}
    ${equal('a.address', filter.address)}
    ${filter.action === undefined ? sql`` : sql`and starts_with(a.action, ${filter.action})`}
    and ${within(sql, filter)}
    ${filter.text === undefined ? sql`` : sql`and a.detail::text ilike ${containsPattern(filter.text)}`}`;
}

function within(sql: Queryable, { from, to }: Pick<AuditFilter, 'from' | 'to'>) {
  return sql`true ${from === undefined ? sql`` : sql`and a.at >= ${from}`}
    ${to === undefined ? sql`` : sql`and a.at < ${to}`}`;
}
