// The frame of every change to users, user groups and grants: one at a time, never beyond what the caller holds, and
// never without an administrator left.
import type { Scope } from '@opsconductor/protocol';
import type { Grant } from '../auth/authority.ts';
import { MissingPermission } from '../auth/missing-permission.ts';
import type { Caller } from '../caller.ts';
import { AppError, notFound } from '../errors.ts';
import type { Tx } from '../store/database/connection.ts';
import { inTransaction } from '../store/database/transaction.ts';
import { countAdministrators, lockPeople } from '../store/people/people.ts';
import { nameScopes } from '../store/people/scope-names.ts';
import { lockUser, type UserRow } from '../store/people/users.ts';
import type { PeopleDeps } from './people-deps.ts';

/**
 * Runs a change in one transaction.
 * @throws AppError `conflict` if it would remove the last active administrator, or the last one who can sign in.
 */
export async function changePeople<T>(
  deps: Pick<PeopleDeps, 'sql' | 'now'>,
  change: (tx: Tx) => Promise<T>,
): Promise<T> {
  return inTransaction(deps.sql, async (tx) => {
    await lockPeople(tx);
    const before = await countAdministrators(tx, deps.now());
    const result = await change(tx);
    const after = await countAdministrators(tx, deps.now());
    const isLast =
      (before.active > 0 && after.active === 0) || (before.canSignIn > 0 && after.canSignIn === 0);
    if (isLast) {
      throw new AppError(
        'conflict',
        'This would leave no active administrator who can sign in. Make another one first.',
      );
    }
    return result;
  });
}

/**
 * Nobody grants what they don't hold, or changes someone who holds more than they do: otherwise anyone who may edit
 * people could gain every right.
 * @throws MissingPermission
 */
export async function requireAtLeast(tx: Tx, caller: Caller, grants: readonly Grant[]): Promise<void> {
  const beyond = caller.authority.firstBeyond(grants);
  if (beyond === undefined) return;
  throw new MissingPermission(caller, beyond.permission, await wordsOf(tx, beyond.scope), [
    {
      path: '',
      message: 'Nobody can grant what they do not hold themselves, or change someone who holds it.',
    },
  ]);
}

/** Returns the user, locked, if the caller may change them. */
export async function lockUserFor(tx: Tx, caller: Caller, id: number): Promise<UserRow> {
  const user = await lockUser(tx, id);
  if (user === undefined) throw notFound('User');
  await requireAtLeast(tx, caller, user.grants);
  return user;
}

async function wordsOf(tx: Tx, scope: Scope | null): Promise<string> {
  if (scope === null) return 'everything';
  const [named] = await nameScopes(tx, [scope]);
  return `${scope.kind.replace('_', ' ')} “${named?.name ?? scope.id}”`;
}
