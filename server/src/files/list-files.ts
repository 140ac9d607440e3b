import { type FileQuery, type FileUses, limits, type StoredFile } from '@opsconductor/protocol';
import type { Reach } from '../auth/authority.ts';
import { notFound } from '../errors.ts';
import type { Sql } from '../store/database/connection.ts';
import { pageOf } from '../store/database/cursor.ts';
import { type FileRow, findFile, listFiles as listFileRows, listFileUses } from '../store/files/files.ts';
import { receivedBytes } from './content-pieces.ts';

/** Returns a page of the files within the reaches, by name. `userId` is whom `mine` means. */
export async function listFiles(
  sql: Sql,
  { state, mine, ...query }: FileQuery,
  reaches: readonly Reach[],
  userId: number,
): Promise<{ items: StoredFile[]; nextCursor: string | null }> {
  const limit = query.limit ?? limits.defaultPageItems;
  const isComplete = state === undefined ? undefined : state === 'ready';
  const createdBy = mine === undefined ? undefined : { userId, is: mine };
  const rows = await listFileRows(sql, { ...query, isComplete, createdBy, limit }, reaches);
  return pageOf(rows, limit, (row) => [row.name], toFile);
}

/** @throws {AppError} `not_found`, also for a file outside the reaches. */
export async function getFile(sql: Sql, id: string, reaches: readonly Reach[]): Promise<StoredFile> {
  return toFile(await requireFile(sql, id, reaches));
}

/** Returns the jobs whose current version uses the file. */
export async function fileUses(sql: Sql, id: string, reaches: readonly Reach[]): Promise<FileUses> {
  const file = await requireFile(sql, id, reaches);
  const items = await listFileUses(sql, file.name, reaches, limits.maxPageItems);
  return { items, hidden: Math.max(0, file.jobCount - items.length) };
}

async function requireFile(sql: Sql, id: string, reaches: readonly Reach[]): Promise<FileRow> {
  const row = await findFile(sql, id, reaches);
  if (row === undefined) throw notFound('File');
  return row;
}

function toFile({ parts, createdAt, createdBy, lastUsedAt, touchedAt, ...row }: FileRow): StoredFile {
  const expiresAt = new Date(touchedAt.getTime() + limits.unfinishedContentMs);
  return {
    ...row,
    state: row.sha256 === null ? 'uploading' : 'ready',
    receivedBytes: receivedBytes({ size: row.size, parts }),
    createdAt: createdAt.toISOString(),
    createdBy: createdBy ?? 'deleted user',
    lastUsedAt: lastUsedAt?.toISOString() ?? null,
    uploadExpiresAt: row.sha256 === null ? expiresAt.toISOString() : null,
  };
}
