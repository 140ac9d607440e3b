import { type Credential, type CredentialQuerySchema, limits } from '@opsconductor/protocol';
import type { Static } from 'typebox';
import { notFound } from '../errors.ts';
import type { Queryable } from '../store/connection.ts';
import {
  type CredentialRow,
  findCredential,
  listCredentials as listCredentialRows,
} from '../store/credentials.ts';
import { pageOf } from '../store/cursor.ts';

/** A page of credentials by name. What they seal is never here. */
export async function listCredentials(
  sql: Queryable,
  query: Static<typeof CredentialQuerySchema>,
): Promise<{ items: Credential[]; nextCursor: string | null }> {
  const limit = query.limit ?? limits.defaultPageItems;
  const rows = await listCredentialRows(sql, { ...query, limit });
  return pageOf(rows, limit, (row) => [row.name, row.segmentId], toCredential);
}

/** @throws {AppError} `not_found`. */
export async function getCredential(sql: Queryable, id: string): Promise<Credential> {
  const row = await findCredential(sql, id);
  if (row === undefined) throw notFound('Credential');
  return toCredential(row);
}

function toCredential({ createdByName, createdAt, ...row }: CredentialRow): Credential {
  return { ...row, createdAt: createdAt.toISOString(), createdBy: createdByName ?? 'deleted user' };
}
