// Ways back in that an administrator provides: a one-time link, instead of a password that the administrator would
// choose, and unlocking.
import { limits, type SignInLink } from '@opsconductor/protocol';
import { recordAudit } from '../audit/record-audit.ts';
import { beginMaking } from '../auth/making.ts';
import { hashSecretToken, makeSecretToken } from '../auth/secret-token.ts';
import { auditedBy, type Caller } from '../caller.ts';
import { AppError } from '../errors.ts';
import { insertMadeWith } from '../store/people/made-with.ts';
import { deleteOtherSessions } from '../store/people/sessions.ts';
import { unlockName } from '../store/people/sign-in-attempts.ts';
import { deleteSignInCodes, insertSignInCode } from '../store/people/sign-in-codes.ts';
import { setPasswordHash } from '../store/people/users.ts';
import { changePeople, lockUserFor } from './change-people.ts';
import type { PeopleDeps } from './people-deps.ts';

/**
 * Creates a link that signs the user in once within 24 hours, to set a new password. Their previous password, their
 * sessions, their locks and earlier links end, so anyone who knew the password is out.
 * @throws AppError `not_found`; `conflict` for the caller themselves, a service account or an inactive user;
 * `forbidden` for a user who holds more than the caller, who could otherwise become that user.
 */
export async function createSignInLink(deps: PeopleDeps, id: number, caller: Caller): Promise<SignInLink> {
  const code = makeSecretToken();
  const now = deps.now();
  const expiresAt = new Date(now.getTime() + limits.signInLinkTtlMs);
  await changePeople(deps, async (tx) => {
    const maker = await beginMaking(tx, caller.maker);
    const user = await lockUserFor(tx, caller, id);
    if (caller.userId === id) throw new AppError('conflict', 'Set your own password in your account.');
    if (user.kind !== 'person') {
      throw new AppError(
        'conflict',
        `${user.name} is a service account: it has API tokens and never signs in.`,
      );
    }
    if (!user.isActive)
      throw new AppError('conflict', `${user.name} is not active. Activate the user first.`);
    await deleteSignInCodes(tx, id);
    const linkId = await insertSignInCode(
      tx,
      { codeHash: hashSecretToken(code), userId: id, expiresAt },
      now,
    );
    if (maker !== undefined)
      await insertMadeWith(tx, { kind: 'sign_in_link', id: linkId, userId: id }, maker);
    await setPasswordHash(tx, id, null);
    await unlockName(tx, user.name, now);
    await recordAudit(tx, {
      ...auditedBy(caller),
      action: 'sign_in_link.created',
      object: { kind: 'user', id },
      detail: {
        name: user.name,
        expiresAt,
        hadPassword: user.passwordHash !== null,
        endedSessions: await deleteOtherSessions(tx, id, null),
      },
    });
  });
  deps.authenticator.forgetUser(id);
  return { url: `${deps.publicUrl}/#code=${code}`, expiresAt: expiresAt.toISOString() };
}

/**
 * Lifts every lock that wrong passwords caused.
 * @throws AppError `not_found`; `forbidden` for a user who holds more than the caller.
 */
export async function unlockUser(deps: PeopleDeps, id: number, caller: Caller): Promise<void> {
  await changePeople(deps, async (tx) => {
    const user = await lockUserFor(tx, caller, id);
    const lockedAddresses = await unlockName(tx, user.name, deps.now());
    await recordAudit(tx, {
      ...auditedBy(caller),
      action: 'user.unlocked',
      object: { kind: 'user', id },
      detail: { name: user.name, lockedAddresses },
    });
  });
}
