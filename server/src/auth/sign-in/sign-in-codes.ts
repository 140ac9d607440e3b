// One-time sign-in codes: the way in before there is a password, and after it was lost. Anyone who can read the
// server's terminal can have one.
import { limits } from '@opsconductor/protocol';
import { recordAudit } from '../../audit/record-audit.ts';
import { AppError } from '../../errors.ts';
import type { Sql } from '../../store/database/connection.ts';
import { inTransaction } from '../../store/database/transaction.ts';
import { findAdministrator } from '../../store/people/people.ts';
import { insertSignInCode } from '../../store/people/sign-in-codes.ts';
import { findUserByName } from '../../store/people/users.ts';
import { hashSecretToken, makeSecretToken } from '../secret-token.ts';

/** Creates a code, like `createSignInCode`, for someone who is an administrator now; undefined if there is none. */
export async function createAdministratorCode(deps: {
  sql: Sql;
  now: () => Date;
}): Promise<{ code: string; name: string } | undefined> {
  const name = await findAdministrator(deps.sql);
  return name === undefined ? undefined : { ...(await createSignInCode(deps, name)), name };
}

/**
 * Creates a code that signs the user in once within 30 minutes.
 * @throws AppError `not_found` if no active user has that name.
 */
export async function createSignInCode(
  deps: { sql: Sql; now: () => Date },
  userName: string,
): Promise<{ code: string; expiresAt: Date }> {
  const code = makeSecretToken();
  const now = deps.now();
  const expiresAt = new Date(now.getTime() + limits.signInCodeTtlMs);
  await inTransaction(deps.sql, async (tx) => {
    const user = await findUserByName(tx, userName);
    if (!user?.isActive || user.kind !== 'person') {
      throw new AppError('not_found', `There is no active user named ${userName} who can sign in.`);
    }
    await insertSignInCode(tx, { codeHash: hashSecretToken(code), userId: user.id, expiresAt }, now);
    await recordAudit(tx, {
      actor: { kind: 'system', name: 'server' },
      action: 'sign_in_code.created',
      object: { kind: 'user', id: user.id },
    });
  });
  return { code, expiresAt };
}
