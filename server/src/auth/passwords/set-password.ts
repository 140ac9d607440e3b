// Sets the caller's own password and ends their other sessions, so that anyone who knew the old one is out.
import { limits } from '@opsconductor/protocol';
import { recordAudit, userActor } from '../../audit/record-audit.ts';
import { AppError, invalidField } from '../../errors.ts';
import { inTransaction } from '../../store/database/transaction.ts';
import { deleteOtherSessions, wasOpenedByCode } from '../../store/people/sessions.ts';
import { findUserById, lockUser, setPasswordHash } from '../../store/people/users.ts';
import type { IdentityDeps, Origin } from '../identity-deps.ts';
import type { Principal } from '../principal.ts';
import { checkPassword } from './check-password.ts';
import { hashPassword } from './passwords.ts';

/**
 * @throws AppError `forbidden` with an API token, which could otherwise gain access that outlives it; `invalid` for a
 * wrong current password; `rate_limited`, also if they set it too often; `conflict` if the password was changed meanwhile.
 */
export async function setPassword(
  deps: IdentityDeps,
  principal: Principal,
  passwords: { password: string; current?: string },
  origin: Origin,
): Promise<void> {
  if (principal.via !== 'session') {
    throw new AppError('forbidden', 'A password is set in the console, not with an API token.');
  }
  deps.signInLimits.countPasswordChange(principal.userId);
  const before = await findUserById(deps.sql, principal.userId);
  if (before === undefined) throw new AppError('unauthenticated', 'Sign in again.');
  if (await needsCurrentPassword(deps, principal, before)) {
    await checkCurrent(deps, before, passwords.current, origin);
  }
  const passwordHash = await hashPassword(passwords.password);
  await inTransaction(deps.sql, async (tx) => {
    const user = await lockUser(tx, principal.userId);
    if (user?.passwordHash !== before.passwordHash) {
      throw new AppError('conflict', 'The password was changed meanwhile. Sign in with the new one.');
    }
    await setPasswordHash(tx, principal.userId, passwordHash);
    const endedSessions = await deleteOtherSessions(tx, principal.userId, principal.viaId);
    await recordAudit(tx, {
      actor: userActor(principal),
      action: 'user.password_set',
      object: { kind: 'user', id: principal.userId },
      detail: { endedSessions },
      origin,
    });
  });
  deps.authenticator.forgetUser(principal.userId);
}

/** A user who lost their password signs in with a one-time code, and must be able to set a new one. */
export async function needsCurrentPassword(
  deps: Pick<IdentityDeps, 'sql' | 'now'>,
  principal: Principal,
  user: { passwordHash: string | null },
): Promise<boolean> {
  if (user.passwordHash === null) return false;
  const after = new Date(deps.now().getTime() - limits.signInCodeTtlMs);
  return principal.via !== 'session' || !(await wasOpenedByCode(deps.sql, principal.viaId, after));
}

async function checkCurrent(
  deps: IdentityDeps,
  user: { name: string; passwordHash: string | null },
  current: string | undefined,
  { address }: Origin,
): Promise<void> {
  if (current === undefined) {
    throw invalidField('current', 'Is missing: give the current password.', {
      allowed: 'the current password',
    });
  }
  const attempt = { name: user.name, password: current, stored: user.passwordHash, address };
  if (!(await checkPassword(deps, attempt, { isSignedIn: true }))) {
    throw invalidField('current', 'Is not the current password.');
  }
}
