// Searches the audit log, page by page.
import type { AuditQuery, AuditRow } from '@opsconductor/protocol';
import { limits } from '@opsconductor/protocol';
import type { Reach } from '../auth/authority.ts';
import { AppError, invalidField } from '../errors.ts';
import { type AuditFilter, type FoundAuditRow, searchAudit } from '../store/audit/audit-search.ts';
import { type Sql, sqlState } from '../store/database/connection.ts';
import { decodeCursor, pageOf } from '../store/database/cursor.ts';

const queryCancelled = '57014';

/**
 * Newest first.
 * @throws {AppError} `unavailable` if the search would read too much.
 */
export async function searchLog(
  sql: Sql,
  query: AuditQuery,
  reaches: readonly Reach[],
): Promise<{ items: AuditRow[]; nextCursor: string | null }> {
  const limit = query.limit ?? limits.defaultPageItems;
  const below = query.cursor === undefined ? undefined : decodeCursor(query.cursor, ['number'])[0];
  try {
    const rows = await searchAudit(sql, filterOf(query, reaches), { below, limit: limit + 1 });
    return pageOf(rows, limit, (row) => [row.id], viewOf);
  } catch (error) {
    if (sqlState(error) !== queryCancelled) throw error;
    throw new AppError(
      'unavailable',
      'The search took too long. Give a shorter time range, or fewer words.',
      {
        cause: error,
      },
    );
  }
}

/** @throws {AppError} `invalid` for a time that does not exist. */
export function filterOf(
  query: Omit<AuditQuery, 'limit' | 'cursor'>,
  reaches: readonly Reach[],
): AuditFilter {
  const { actor, actorKind, action, objectKind, objectId, segmentId, categoryId, address, text } = query;
  return {
    actor,
    actorKind,
    action,
    objectKind,
    objectId,
    segmentId,
    categoryId,
    address,
    text,
    from: momentOf(query.from, 'from'),
    to: momentOf(query.to, 'to'),
    reaches,
  };
}

function momentOf(text: string | undefined, name: string): Date | undefined {
  if (text === undefined) return undefined;
  const moment = new Date(text);
  if (Number.isNaN(moment.getTime()))
    throw invalidField(`query.${name}`, 'Is not a time that exists.', { found: text, allowed: 'RFC 3339' });
  return moment;
}

function viewOf(row: FoundAuditRow): AuditRow {
  return {
    ...row,
    at: new Date(row.at).toISOString(),
    actorKind: row.actorKind as AuditRow['actorKind'],
    detail: row.detail as Record<string, unknown>,
  };
}
