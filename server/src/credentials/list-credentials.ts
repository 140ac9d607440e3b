import {
  type Credential,
  type CredentialQuerySchema,
  type CredentialUsage,
  isCalendarDate,
  limits,
  maxUsersNamed,
} from '@opsconductor/protocol';
import type { Static } from 'typebox';
import type { Reach } from '../auth/authority.ts';
import { invalidField, notFound } from '../errors.ts';
import type { Queryable } from '../store/database/connection.ts';
import { pageOf } from '../store/database/cursor.ts';
import { readCredentialUsage } from '../store/targets/credential-usage.ts';
import {
  type CredentialRow,
  cursorKeyOf,
  findCredential,
  listCredentials as listCredentialRows,
} from '../store/targets/credentials.ts';
import { refuseUnstorableText } from '../validation/storable-text.ts';

/** Returns a page of the credentials within the reaches. The sealed secrets are never included. */
export async function listCredentials(
  sql: Queryable,
  query: Static<typeof CredentialQuerySchema>,
  reaches: readonly Reach[],
): Promise<{ items: Credential[]; nextCursor: string | null }> {
  refuseUnstorableText(query, 'query');
  const limit = query.limit ?? limits.defaultPageItems;
  if (query.expiresBy !== undefined && !isCalendarDate(query.expiresBy))
    throw invalidField('query.expiresBy', `There is no ${query.expiresBy}; write a day such as 2027-01-31.`);
  const { sort = 'name' } = query;
  const rows = await listCredentialRows(sql, { ...query, sort, limit }, reaches);
  return pageOf(rows, limit, (row) => cursorKeyOf(sort, row), toCredential);
}

/** @throws {AppError} `not_found`, also if the credential is outside the reaches. */
export async function getCredential(
  sql: Queryable,
  id: string,
  reaches: readonly Reach[],
): Promise<Credential> {
  const row = await findCredential(sql, id, reaches);
  if (row === undefined) throw notFound('Credential');
  return toCredential(row);
}

/** @throws {AppError} `not_found`, also if the credential is outside the reaches. */
export async function credentialUsage(
  sql: Queryable,
  id: string,
  reaches: readonly Reach[],
): Promise<CredentialUsage> {
  const { name } = await getCredential(sql, id, reaches);
  return readCredentialUsage(sql, { id, name }, maxUsersNamed, reaches);
}

function toCredential({ createdByName, createdAt, savedAt, ...row }: CredentialRow): Credential {
  return {
    ...row,
    createdAt: createdAt.toISOString(),
    createdBy: createdByName ?? 'deleted user',
    savedAt: savedAt.toISOString(),
  };
}
