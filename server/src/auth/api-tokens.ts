// API tokens of users and service accounts: `oct_` and 256 random bits, shown once.
import type {
  ApiToken,
  CreateApiTokenRequest,
  CreatedApiToken,
  NamedScope,
  Permission,
  Scope,
} from '@opsconductor/protocol';
import { recordAudit } from '../audit/record-audit.ts';
import { auditedBy, type Caller } from '../caller.ts';
import { AppError, invalidField, notFound } from '../errors.ts';
import type { Tx } from '../store/database/connection.ts';
import { decodeCursor, pageOf } from '../store/database/cursor.ts';
import { inTransaction } from '../store/database/transaction.ts';
import {
  type ApiTokenRow,
  countApiTokens,
  deleteApiToken,
  deleteExpiredApiTokens,
  insertApiToken,
  listApiTokens,
  readApiToken,
} from '../store/people/api-tokens.ts';
import { insertMadeWith } from '../store/people/made-with.ts';
import { makerOf } from '../store/people/maker-columns.ts';
import { nameScopes } from '../store/people/scope-names.ts';
import { lockUser, type UserRow } from '../store/people/users.ts';
import { Authority } from './authority.ts';
import { asOf, type IdentityDeps } from './identity-deps.ts';
import { beginMaking } from './making.ts';
import { hashSecretToken, makeSecretToken } from './secret-token.ts';

const apiTokenPrefix = 'oct_';
const shownPrefixChars = apiTokenPrefix.length + 6;
const maxTokensPerUser = 100;
const defaultDays = 90;
const dayMs = 86_400_000;
/** How long an expired token stays in its owner's list. */
const expiredKeptMs = 30 * dayMs;

/** Whose token it is, by default the caller's; `admit` looks at the owner, who is locked, and throws to refuse. */
interface OfOwner {
  ownerId?: number;
  admit?: (tx: Tx, owner: UserRow) => Promise<void>;
}

/**
 * Creates a token. One that is created with a token expires with that one at the latest, so that a leaked one can't
 * renew itself.
 * @throws AppError `unauthenticated` if the caller's session or token has been ended meanwhile; `not_found`; `invalid`
 * for a time, permission or scope that the owner can't have; `conflict` for a name that is taken, or if the owner has
 * too many tokens or is not active.
 */
export async function createApiToken(
  deps: IdentityDeps,
  request: CreateApiTokenRequest,
  caller: Caller,
  { ownerId = caller.userId, admit = async () => {} }: OfOwner = {},
): Promise<CreatedApiToken> {
  const days = request.expiresInDays ?? Math.min(defaultDays, deps.settings.apiTokenMaxDays);
  if (days > deps.settings.apiTokenMaxDays) {
    throw invalidField(
      'expiresInDays',
      `A token may last at most ${deps.settings.apiTokenMaxDays} days on this server (--api-token-max-days).`,
      {
        found: String(days),
        allowed: `1 to ${deps.settings.apiTokenMaxDays}`,
      },
    );
  }
  const token = makeSecretToken(apiTokenPrefix);
  const now = deps.now();
  const row = await inTransaction(deps.sql, async (tx) => {
    const maker = await beginMaking(tx, caller.maker);
    const owner = await lockUser(tx, ownerId);
    if (owner === undefined) throw notFound('User');
    await admit(tx, owner);
    await checkOwner(tx, owner, request.name, now);
    const { permissions = null, scopes = null } = request;
    await checkBounds(tx, owner, { permissions, scopes });
    const limit = maker?.kind === 'api_token' ? maker.expiresAt : null;
    const asked = new Date(now.getTime() + days * dayMs);
    const id = await insertApiToken(tx, {
      userId: owner.id,
      name: request.name,
      prefix: token.slice(0, shownPrefixChars),
      tokenHash: hashSecretToken(token),
      createdAt: now,
      expiresAt: limit !== null && limit < asked ? limit : asked,
      permissions,
      scopes,
      createdBy: caller.userId,
    });
    if (maker !== undefined) await insertMadeWith(tx, { kind: 'api_token', id, userId: owner.id }, maker);
    const row = await readApiToken(tx, id, asOf(deps));
    const { name, prefix, expiresAt } = row;
    await recordAudit(tx, {
      ...auditedBy(caller),
      action: 'api_token.created',
      object: { kind: 'api_token', id: row.id },
      detail: { name, prefix, expiresAt, user: owner.name, permissions, scopes: row.scopes },
    });
    return row;
  });
  return { ...describeApiToken(row), token };
}

export async function listApiTokensOf(
  deps: Pick<IdentityDeps, 'sql' | 'now' | 'settings'>,
  userId: number,
  page: { limit: number; cursor?: string },
): Promise<{ items: ApiToken[]; nextCursor: string | null }> {
  const beforeId =
    page.cursor === undefined ? Number.MAX_SAFE_INTEGER : decodeCursor(page.cursor, ['number'] as const)[0];
  const rows = await listApiTokens(deps.sql, userId, { limit: page.limit + 1, beforeId }, asOf(deps));
  return pageOf(rows, page.limit, (row) => [row.id], describeApiToken);
}

/** @throws AppError `not_found`, also for a token of a user other than `ownerId`. */
export async function revokeApiToken(
  deps: IdentityDeps,
  id: number,
  caller: Caller,
  { ownerId = caller.userId, admit = async () => {} }: OfOwner = {},
): Promise<void> {
  await inTransaction(deps.sql, async (tx) => {
    const owner = await lockUser(tx, ownerId);
    if (owner === undefined) throw notFound('User');
    await admit(tx, owner);
    const deleted = await deleteApiToken(tx, owner.id, id);
    if (deleted === undefined) throw notFound('API token');
    await recordAudit(tx, {
      ...auditedBy(caller),
      action: 'api_token.revoked',
      object: { kind: 'api_token', id },
      detail: { ...deleted, user: owner.name },
    });
  });
  deps.authenticator.forget('api_token', id);
}

async function checkOwner(tx: Tx, owner: UserRow, name: string, now: Date): Promise<void> {
  if (!owner.isActive) throw new AppError('conflict', `${owner.name} is not active.`);
  await deleteExpiredApiTokens(tx, owner.id, new Date(now.getTime() - expiredKeptMs));
  const { count, isNameTaken } = await countApiTokens(tx, { userId: owner.id, name }, now);
  if (count >= maxTokensPerUser) {
    throw new AppError(
      'conflict',
      `${owner.name} has ${maxTokensPerUser} API tokens, the most there can be. Delete one first.`,
    );
  }
  if (isNameTaken) {
    throw new AppError('conflict', `${owner.name} already has an API token named “${name}”.`);
  }
}

/**
 * Refuses bounds that leave nothing, which are a mistake, and does not reveal the names of scopes outside of the
 * owner's rights.
 */
async function checkBounds(
  tx: Tx,
  owner: UserRow,
  bounds: { permissions: readonly Permission[] | null; scopes: readonly Scope[] | null },
): Promise<void> {
  const authority = new Authority(owner.grants);
  for (const [i, permission] of (bounds.permissions ?? []).entries()) {
    if (!authority.holdsSomewhere(permission)) {
      throw invalidField(`permissions[${i}]`, `${owner.name} does not have the permission ${permission}.`);
    }
  }
  const held = [...authority.permissions()];
  const existing = await nameScopes(tx, bounds.scopes ?? []);
  for (const [i, scope] of (bounds.scopes ?? []).entries()) {
    const isHeld = held.some((permission) => permission !== 'self' && authority.holdsOn(permission, scope));
    if (!isHeld || !existing.some((one) => isSame(one, scope))) {
      throw invalidField(`scopes[${i}]`, `${owner.name} has no rights on this, or it does not exist.`);
    }
  }
}

function isSame(one: NamedScope, scope: Scope): boolean {
  return one.kind === scope.kind && one.id === scope.id;
}

function describeApiToken(row: ApiTokenRow): ApiToken {
  return {
    id: row.id,
    name: row.name,
    prefix: row.prefix,
    permissions: row.permissions,
    scopes: row.scopes,
    createdAt: row.createdAt.toISOString(),
    expiresAt: row.expiresAt?.toISOString() ?? null,
    lastUsedAt: row.lastUsedAt?.toISOString() ?? null,
    lastUsedAddress: row.lastUsedAddress,
    madeWith: makerOf(row),
  };
}
