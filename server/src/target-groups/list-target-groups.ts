import {
  type GroupEntry,
  type GroupEntryQuerySchema,
  limits,
  type TargetGroup,
  type TargetGroupQuerySchema,
} from '@opsconductor/protocol';
import type { Static } from 'typebox';
import type { Reach } from '../auth/authority.ts';
import { notFound } from '../errors.ts';
import type { Queryable } from '../store/database/connection.ts';
import { pageOf } from '../store/database/cursor.ts';
import {
  findTargetGroup,
  listEntries,
  listTargetGroups as listRows,
  type TargetGroupRow,
} from '../store/targets/target-groups.ts';
import { refuseUnstorableText } from '../validation/storable-text.ts';

interface PageOf<T> {
  items: T[];
  nextCursor: string | null;
}

/** Returns a page of the visible target groups, by name. */
export async function listTargetGroups(
  sql: Queryable,
  query: Static<typeof TargetGroupQuerySchema>,
  reaches: readonly Reach[],
): Promise<PageOf<TargetGroup>> {
  refuseUnstorableText(query, 'query');
  const limit = query.limit ?? limits.defaultPageItems;
  const rows = await listRows(sql, { ...query, limit }, reaches);
  return pageOf(rows, limit, (row) => [row.name, row.id], toTargetGroup);
}

/**
 * @param counted the reaches within which members are counted; those of the group if left out.
 * @throws {AppError} `not_found`.
 */
export async function getTargetGroup(
  sql: Queryable,
  id: number,
  reaches: readonly Reach[],
  counted = reaches,
): Promise<TargetGroup> {
  const row = await findTargetGroup(sql, id, reaches, counted);
  if (row === undefined) throw notFound('Target group');
  return toTargetGroup(row);
}

/**
 * Returns a page of the group's entries for single targets, listed or excluded.
 * @throws {AppError} `not_found`, also for a group of which the caller sees only members.
 */
export async function listGroupEntries(
  sql: Queryable,
  groupId: number,
  query: Static<typeof GroupEntryQuerySchema>,
  reaches: readonly Reach[],
): Promise<PageOf<GroupEntry>> {
  const group = await findTargetGroup(sql, groupId, reaches);
  if (group?.isWhole !== true) throw notFound('Target group');
  const limit = query.limit ?? limits.defaultPageItems;
  const rows = await listEntries(sql, { groupId, ...query, limit }, reaches);
  return pageOf(
    rows,
    limit,
    (row) => [row.name, row.targetId],
    (row) => row,
  );
}

/** A caller who sees only members of a group is not shown how it is composed, because that names other places. */
function toTargetGroup(row: TargetGroupRow): TargetGroup {
  const times = { createdAt: row.createdAt.toISOString(), updatedAt: row.updatedAt.toISOString() };
  if (row.isWhole) return { ...row, ...times };
  return {
    id: row.id,
    name: row.name,
    description: row.description,
    memberCount: row.memberCount,
    isWhole: false,
    selector: null,
    priority: 0,
    settings: {},
    credentials: [],
    listedCount: 0,
    excludedCount: 0,
    ...times,
  };
}
