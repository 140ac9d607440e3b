// Signing in and out. Each way in ends in a session: a random token in the browser's cookie, its hash in the database.
import { limits, type Me } from '@opsconductor/protocol';
import { recordAudit } from '../audit/record-audit.ts';
import { AppError } from '../errors.ts';
import type { Tx } from '../store/connection.ts';
import { deleteExpiredSessions, deleteSession, insertSession } from '../store/sessions.ts';
import { takeSignInCode } from '../store/sign-in-codes.ts';
import { inTransaction } from '../store/transaction.ts';
import { findUserById, findUserByName, type UserRow } from '../store/users.ts';
import { Authority } from './authority.ts';
import type { IdentityDeps, Origin } from './identity-deps.ts';
import { verifyPassword } from './passwords.ts';
import type { Principal } from './principal.ts';
import { hashSecretToken, makeSecretToken } from './secret-token.ts';

export interface SignedIn {
  me: Me;
  /** For the cookie. */
  sessionToken: string;
}

/** @throws AppError `unauthenticated` (the same for a wrong name and a wrong password), `rate_limited`. */
export async function signInByPassword(
  deps: IdentityDeps,
  credentials: { name: string; password: string },
  origin: Origin,
): Promise<SignedIn> {
  deps.signInLimits.countAttempt(origin.address);
  deps.signInLimits.countPasswordAttempt(credentials.name);
  const user = await findUserByName(deps.sql, credentials.name);
  const isRight = await verifyPassword(credentials.password, user?.isActive ? user.passwordHash : undefined);
  if (user === undefined || !isRight) {
    await recordFailure(deps, credentials.name, 'password', origin);
    throw new AppError('unauthenticated', 'Name or password is wrong.');
  }
  deps.signInLimits.clearPasswordAttempts(credentials.name);
  return inTransaction(deps.sql, (tx) => openSession(deps, tx, user, 'password', origin));
}

/**
 * Uses up a one-time code.
 *
 * @throws AppError `unauthenticated` for a code that is unknown, used or expired; `rate_limited`.
 */
export async function signInByCode(deps: IdentityDeps, code: string, origin: Origin): Promise<SignedIn> {
  deps.signInLimits.countAttempt(origin.address);
  const signedIn = await inTransaction(deps.sql, async (tx) => {
    const userId = await takeSignInCode(tx, hashSecretToken(code), deps.now());
    const user = userId === undefined ? undefined : await findUserById(tx, userId);
    return user?.isActive ? openSession(deps, tx, user, 'code', origin) : undefined;
  });
  if (signedIn !== undefined) return signedIn;
  await recordFailure(deps, 'unknown', 'code', origin);
  throw new AppError(
    'unauthenticated',
    'This sign-in link does not work any more: it was used, or is older than 30 minutes. Ask for a new one.',
  );
}

/** Ends the session of the principal. An API token is not a session: it stays. */
export async function signOut(deps: IdentityDeps, principal: Principal, origin: Origin): Promise<void> {
  if (principal.via !== 'session') return;
  await inTransaction(deps.sql, async (tx) => {
    await deleteSession(tx, principal.viaId);
    await recordAudit(tx, {
      actor: { kind: 'user', id: principal.userId, name: principal.name },
      action: 'session.signed_out',
      object: { kind: 'session', id: principal.viaId },
      origin,
    });
  });
  deps.authenticator.forget('session', principal.viaId);
}

/** What the console shows of who is signed in; `authority` is less than the user's with an API token that has bounds. */
export function describeMe(user: UserRow, via: Principal['via'], authority: Authority): Me {
  return {
    id: user.id,
    name: user.name,
    roles: [...new Set(user.grants.flatMap(({ role }) => role ?? []))].sort(),
    permissions: [...authority.permissions()],
    hasPassword: user.passwordHash !== null,
    via,
  };
}

async function openSession(
  deps: IdentityDeps,
  tx: Tx,
  user: UserRow,
  by: 'password' | 'code',
  origin: Origin,
): Promise<SignedIn> {
  const now = deps.now();
  const sessionToken = makeSecretToken();
  await deleteExpiredSessions(tx, now, limits.sessionIdleMs);
  const id = await insertSession(tx, {
    userId: user.id,
    tokenHash: hashSecretToken(sessionToken),
    createdAt: now,
    expiresAt: new Date(now.getTime() + limits.sessionAbsoluteMs),
    address: origin.address,
  });
  await recordAudit(tx, {
    actor: { kind: 'user', id: user.id, name: user.name },
    action: 'session.signed_in',
    object: { kind: 'session', id },
    detail: { by },
    origin,
  });
  return { me: describeMe(user, 'session', new Authority(user.grants)), sessionToken };
}

async function recordFailure(deps: IdentityDeps, name: string, by: string, origin: Origin): Promise<void> {
  await recordAudit(deps.sql, {
    actor: { kind: 'anonymous', name },
    action: 'session.sign_in_failed',
    detail: { by },
    origin,
  });
}
