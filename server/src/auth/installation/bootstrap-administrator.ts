// The first start creates the first user. Later starts change nothing, whatever the environment says.
import { recordAudit } from '../../audit/record-audit.ts';
import type { Sql } from '../../store/database/connection.ts';
import { inTransaction } from '../../store/database/transaction.ts';
import { markBootstrapped } from '../../store/installation/installation.ts';
import { insertApiToken } from '../../store/people/api-tokens.ts';
import { insertUser } from '../../store/people/users.ts';
import { hashSecretToken } from '../secret-token.ts';

export const administratorName = 'admin';
const shownPrefixChars = 4;

/**
 * Creates the user `admin` once per installation, with the bootstrap token as its first API token, which does not
 * expire.
 * @returns whether this call created it.
 */
export async function bootstrapAdministrator(deps: {
  sql: Sql;
  now: () => Date;
  bootstrapToken: string | undefined;
}): Promise<boolean> {
  const { bootstrapToken } = deps;
  return inTransaction(deps.sql, async (tx) => {
    const now = deps.now();
    if (!(await markBootstrapped(tx, now))) return false;
    const userId = await insertUser(tx, administratorName, ['admin']);
    if (bootstrapToken !== undefined) {
      await insertApiToken(tx, {
        userId,
        name: 'bootstrap',
        // A person chose this token, so fewer of its characters are shown.
        prefix: bootstrapToken.slice(0, shownPrefixChars),
        tokenHash: hashSecretToken(bootstrapToken),
        createdAt: now,
        expiresAt: null,
      });
    }
    await recordAudit(tx, {
      actor: { kind: 'system', name: 'server' },
      action: 'user.created',
      object: { kind: 'user', id: userId },
      detail: { name: administratorName, roles: ['admin'], withBootstrapToken: bootstrapToken !== undefined },
    });
    return true;
  });
}
