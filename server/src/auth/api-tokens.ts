// A user's API tokens: `oct_` and 256 random bits, shown once.
import type { ApiToken, CreatedApiToken } from '@opsconductor/protocol';
import { recordAudit } from '../audit/record-audit.ts';
import { AppError, notFound } from '../errors.ts';
import {
  type ApiTokenRow,
  countApiTokens,
  deleteApiToken,
  findApiTokenExpiry,
  insertApiToken,
  listApiTokens,
} from '../store/api-tokens.ts';
import { decodeCursor, pageOf } from '../store/cursor.ts';
import { inTransaction } from '../store/transaction.ts';
import { lockUser } from '../store/users.ts';
import type { IdentityDeps, Origin } from './identity-deps.ts';
import type { Principal } from './principal.ts';
import { hashSecretToken, makeSecretToken } from './secret-token.ts';

export const apiTokenPrefix = 'oct_';
const shownPrefixChars = apiTokenPrefix.length + 6;
const maxTokensPerUser = 100;
const dayMs = 86_400_000;

/**
 * Makes a token. One that is asked for with a token ends with that token at the latest: a leaked one can't renew
 * itself.
 *
 * @throws AppError `conflict` when the user has too many.
 */
export async function createApiToken(
  deps: IdentityDeps,
  principal: Principal,
  request: { name: string; expiresInDays: number },
  origin: Origin,
): Promise<CreatedApiToken> {
  const token = makeSecretToken(apiTokenPrefix);
  const now = deps.now();
  const row = await inTransaction(deps.sql, async (tx) => {
    await lockUser(tx, principal.userId);
    if ((await countApiTokens(tx, principal.userId)) >= maxTokensPerUser) {
      throw new AppError(
        'conflict',
        `You have ${maxTokensPerUser} API tokens, the most there can be. Delete one first.`,
      );
    }
    const limit = principal.via === 'api_token' ? await findApiTokenExpiry(tx, principal.viaId) : null;
    const asked = new Date(now.getTime() + request.expiresInDays * dayMs);
    const row = await insertApiToken(tx, {
      userId: principal.userId,
      name: request.name,
      prefix: token.slice(0, shownPrefixChars),
      tokenHash: hashSecretToken(token),
      createdAt: now,
      expiresAt: limit !== null && limit < asked ? limit : asked,
    });
    await recordAudit(tx, {
      actor: { kind: 'user', id: principal.userId, name: principal.name },
      action: 'api_token.created',
      object: { kind: 'api_token', id: row.id },
      detail: { name: row.name, prefix: row.prefix, expiresAt: row.expiresAt },
      origin,
    });
    return row;
  });
  return { ...describeApiToken(row), token };
}

export async function listOwnApiTokens(
  deps: Pick<IdentityDeps, 'sql'>,
  principal: Principal,
  page: { limit: number; cursor?: string },
): Promise<{ items: ApiToken[]; nextCursor: string | null }> {
  const beforeId =
    page.cursor === undefined ? Number.MAX_SAFE_INTEGER : decodeCursor(page.cursor, ['number'] as const)[0];
  const rows = await listApiTokens(deps.sql, principal.userId, { limit: page.limit + 1, beforeId });
  return pageOf(rows, page.limit, (row) => [row.id], describeApiToken);
}

/** @throws AppError `not_found`, also for a token of another user. */
export async function revokeApiToken(
  deps: IdentityDeps,
  principal: Principal,
  id: number,
  origin: Origin,
): Promise<void> {
  await inTransaction(deps.sql, async (tx) => {
    const deleted = await deleteApiToken(tx, principal.userId, id);
    if (deleted === undefined) throw notFound('API token');
    await recordAudit(tx, {
      actor: { kind: 'user', id: principal.userId, name: principal.name },
      action: 'api_token.revoked',
      object: { kind: 'api_token', id },
      detail: deleted,
      origin,
    });
  });
  deps.authenticator.forget('api_token', id);
}

function describeApiToken(row: ApiTokenRow): ApiToken {
  return {
    id: row.id,
    name: row.name,
    prefix: row.prefix,
    createdAt: row.createdAt.toISOString(),
    expiresAt: row.expiresAt?.toISOString() ?? null,
    lastUsedAt: row.lastUsedAt?.toISOString() ?? null,
  };
}
