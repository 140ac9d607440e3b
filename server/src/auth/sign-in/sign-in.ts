// Signing in and out. Each way in leads to a session: a random token in the browser's cookie, and its hash in the
// database. It is always a new session; the one that the browser came with ends.
import type { Me } from '@opsconductor/protocol';
import { recordAudit, userActor } from '../../audit/record-audit.ts';
import { AppError } from '../../errors.ts';
import type { Tx } from '../../store/database/connection.ts';
import { inTransaction } from '../../store/database/transaction.ts';
import { insertMadeFrom, shareMakingLock } from '../../store/people/made-with.ts';
import {
  deleteExpiredSessions,
  deleteSession,
  deleteSessionByToken,
  insertSession,
} from '../../store/people/sessions.ts';
import { forgetSuccesses } from '../../store/people/sign-in-attempts.ts';
import { takeSignInCode } from '../../store/people/sign-in-codes.ts';
import {
  findUserById,
  findUserByName,
  lockUser,
  noteSignIn,
  setPasswordHash,
  type UserRow,
} from '../../store/people/users.ts';
import { Authority } from '../authority.ts';
import type { IdentityDeps, Origin } from '../identity-deps.ts';
import { checkPassword } from '../passwords/check-password.ts';
import { hashPassword, isOutdated } from '../passwords/passwords.ts';
import type { Principal } from '../principal.ts';
import { hashSecretToken, makeSecretToken } from '../secret-token.ts';
import { describeMe } from './describe-me.ts';

const knownAddressMs = 90 * 24 * 3_600_000;
const maxUserAgentChars = 300;

export interface SignedIn {
  me: Me;
  /** For the cookie. */
  sessionToken: string;
}

/** Origin of a sign-in request. */
export interface SignInOrigin extends Origin {
  userAgent: string;
  /** Token of the session cookie that the browser came with, whoever's session that is. */
  oldSessionToken?: string;
}

/**
 * @throws AppError `unauthenticated` (the same for a wrong name and a wrong password), `rate_limited`, `unavailable`.
 */
export async function signInByPassword(
  deps: IdentityDeps,
  credentials: { name: string; password: string },
  origin: SignInOrigin,
): Promise<SignedIn> {
  deps.signInLimits.countAttempt(origin.address);
  const { name, password } = credentials;
  const user = await findUserByName(deps.sql, name);
  const stored = user !== undefined && maySignIn(user) ? user.passwordHash : undefined;
  const isRight = await checkPassword(deps, { name, password, stored, address: origin.address });
  if (user === undefined || !isRight) {
    await recordFailure(deps, user?.name, 'password', origin);
    throw wrongPassword();
  }
  const betterHash = isOutdated(stored ?? '') ? await hashIfThereIsRoom(password) : undefined;
  const signedIn = await openSession(deps, 'password', origin, async (tx) => {
    const now = await lockUser(tx, user.id);
    // The password was changed, or the user deactivated, while the password was being checked.
    if (now === undefined || !maySignIn(now) || now.passwordHash !== user.passwordHash) return undefined;
    if (betterHash !== undefined) await setPasswordHash(tx, user.id, betterHash);
    return { user: now };
  });
  if (signedIn === undefined) throw wrongPassword();
  return signedIn;
}

/**
 * Uses up a one-time code.
 * @throws AppError `unauthenticated` for a code that is unknown, used or expired; `rate_limited`.
 */
export async function signInByCode(
  deps: IdentityDeps,
  code: string,
  origin: SignInOrigin,
): Promise<SignedIn> {
  deps.signInLimits.countAttempt(origin.address);
  const signedIn = await openSession(deps, 'code', origin, async (tx) => {
    // A link may be ended with what it was made with, and then so must the session that it opens.
    await shareMakingLock(tx);
    const taken = await takeSignInCode(tx, hashSecretToken(code), deps.now());
    const user = taken === undefined ? undefined : await lockUser(tx, taken.userId);
    return user !== undefined && maySignIn(user) ? { user, linkId: taken?.id } : undefined;
  });
  if (signedIn !== undefined) return signedIn;
  await recordFailure(deps, undefined, 'code', origin);
  throw new AppError(
    'unauthenticated',
    'This sign-in link does not work any more: it was used or has expired. Ask for a new one.',
  );
}

/** Ends the session of the principal. An API token is not a session, and is not ended. */
export async function signOut(deps: IdentityDeps, principal: Principal, origin: Origin): Promise<void> {
  if (principal.via !== 'session') return;
  await inTransaction(deps.sql, async (tx) => {
    await deleteSession(tx, principal.userId, principal.viaId);
    await recordAudit(tx, {
      actor: userActor(principal),
      action: 'session.signed_out',
      object: { kind: 'session', id: principal.viaId },
      origin,
    });
  });
  deps.authenticator.forget('session', principal.viaId);
}

function maySignIn(user: UserRow): boolean {
  return user.isActive && user.kind === 'person';
}

/** Who gets a session, and the sign-in link that gives it to them. */
interface Admitted {
  user: UserRow;
  linkId?: number | undefined;
}

/** Opens a session for the user that `admit` finds, in the same transaction; returns undefined if it finds none. */
async function openSession(
  deps: IdentityDeps,
  by: 'password' | 'code',
  origin: SignInOrigin,
  admit: (tx: Tx) => Promise<Admitted | undefined>,
): Promise<SignedIn | undefined> {
  const sessionToken = makeSecretToken();
  const opened = await inTransaction(deps.sql, async (tx) => {
    const admitted = await admit(tx);
    if (admitted === undefined) return undefined;
    const { user, linkId } = admitted;
    const now = deps.now();
    await deleteExpiredSessions(tx, now, deps.settings.session);
    await forgetSuccesses(tx, new Date(now.getTime() - knownAddressMs));
    const { oldSessionToken } = origin;
    const replaced =
      oldSessionToken === undefined
        ? undefined
        : await deleteSessionByToken(tx, hashSecretToken(oldSessionToken));
    const id = await insertSession(tx, {
      userId: user.id,
      tokenHash: hashSecretToken(sessionToken),
      createdAt: now,
      expiresAt: new Date(now.getTime() + deps.settings.session.absoluteMs),
      address: origin.address,
      userAgent: visibleText(origin.userAgent).slice(0, maxUserAgentChars),
      openedBy: by,
    });
    if (linkId !== undefined) {
      const made = { kind: 'session', id, userId: user.id } as const;
      await insertMadeFrom(tx, made, { kind: 'sign_in_link', id: linkId });
    }
    await noteSignIn(tx, user.id, now);
    await recordAudit(tx, {
      actor: { kind: 'user', id: user.id, name: user.name },
      action: 'session.signed_in',
      object: { kind: 'session', id },
      detail: { by, ...(replaced === undefined ? {} : { endedSession: replaced.id }) },
      origin,
    });
    return { user: await findUserById(tx, user.id), replaced };
  });
  if (opened?.user === undefined) return undefined;
  if (opened.replaced !== undefined) deps.authenticator.forget('session', opened.replaced.id);
  const { user } = opened;
  const authority = new Authority(user.grants);
  const needsCurrentPassword = by !== 'code' && user.passwordHash !== null;
  return { me: describeMe(user, { via: 'session', authority, needsCurrentPassword }), sessionToken };
}

/** Returns the browser's User-Agent as one line. */
function visibleText(text: string): string {
  return text.replaceAll(/[^\x20-\x7e]/g, '');
}

/** A right password must not be refused only because the queue has no room to improve its hash. */
async function hashIfThereIsRoom(password: string): Promise<string | undefined> {
  try {
    return await hashPassword(password);
  } catch (error) {
    if (error instanceof AppError && error.code === 'unavailable') return undefined;
    throw error;
  }
}

function wrongPassword(): AppError {
  return new AppError('unauthenticated', 'Name or password is wrong.');
}

/** A name that nobody has isn't recorded, because people type passwords into the wrong field. */
async function recordFailure(
  deps: IdentityDeps,
  userName: string | undefined,
  by: string,
  origin: Origin,
): Promise<void> {
  const told = deps.signInLimits.tellFailure();
  if (told === undefined) return;
  await recordAudit(deps.sql, {
    actor: { kind: 'anonymous', name: userName ?? 'unknown' },
    action: 'session.sign_in_failed',
    detail: { by, ...(told.untold === 0 ? {} : { failuresNotRecorded: told.untold }) },
    origin,
  });
}
