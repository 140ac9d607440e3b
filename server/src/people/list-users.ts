import type { User, UserQuery } from '@opsconductor/protocol';
import { limits } from '@opsconductor/protocol';
import { asOf } from '../auth/identity-deps.ts';
import { notFound } from '../errors.ts';
import { decodeCursor, pageOf } from '../store/database/cursor.ts';
import { findPerson, type PersonRow, searchPeople } from '../store/people/people.ts';
import type { PeopleDeps } from './people-deps.ts';

/** Returns users and service accounts by name. */
export async function listUsers(
  deps: PeopleDeps,
  query: UserQuery,
): Promise<{ items: User[]; nextCursor: string | null }> {
  const { limit = limits.defaultPageItems, cursor, ...filter } = query;
  const rows = await searchPeople(deps.sql, filter, { limit: limit + 1, ...afterOf(cursor) }, asOf(deps));
  return pageOf(rows, limit, (row) => [row.sortName, row.id], describeUser);
}

/** @throws AppError `not_found` */
export async function getUser(deps: PeopleDeps, id: number): Promise<User> {
  const row = await findPerson(deps.sql, id, asOf(deps));
  if (row === undefined) throw notFound('User');
  return describeUser(row);
}

/** Returns where a list by name continues. */
export function afterOf(cursor: string | undefined): { after?: { name: string; id: number } } {
  if (cursor === undefined) return {};
  const [name, id] = decodeCursor(cursor, ['string', 'number'] as const);
  return { after: { name, id } };
}

function describeUser({ sortName: _, ...row }: PersonRow): User {
  return {
    ...row,
    signInLinkExpiresAt: row.signInLinkExpiresAt?.toISOString() ?? null,
    lockedUntil: row.lockedUntil?.toISOString() ?? null,
    lastSignInAt: row.lastSignInAt?.toISOString() ?? null,
    createdAt: row.createdAt.toISOString(),
    updatedAt: row.updatedAt.toISOString(),
  };
}
