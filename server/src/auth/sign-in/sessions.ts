// Lists where a user is signed in, and ends sessions.
import type { Session } from '@opsconductor/protocol';
import { recordAudit } from '../../audit/record-audit.ts';
import { auditedBy, type Caller } from '../../caller.ts';
import { notFound } from '../../errors.ts';
import type { Tx } from '../../store/database/connection.ts';
import { inTransaction } from '../../store/database/transaction.ts';
import { deleteOtherSessions, deleteSession, listSessions } from '../../store/people/sessions.ts';
import { lockUser, type UserRow } from '../../store/people/users.ts';
import type { IdentityDeps } from '../identity-deps.ts';
import type { Principal } from '../principal.ts';

/** Returns the open sessions of a user, the one used last first; `principal` is the caller. */
export async function listSessionsOf(
  deps: IdentityDeps,
  principal: Principal,
  userId: number,
): Promise<{ items: Session[] }> {
  const rows = await listSessions(deps.sql, userId, deps.now(), deps.settings.session);
  const items = rows.map((row) => ({
    ...row,
    createdAt: row.createdAt.toISOString(),
    lastSeenAt: row.lastSeenAt.toISOString(),
    expiresAt: row.expiresAt.toISOString(),
    isCurrent: principal.via === 'session' && principal.viaId === row.id,
  }));
  return { items };
}

/** Whose sessions are ended; `admit` looks at the user, who is locked, and throws to refuse. */
interface OfUser {
  userId: number;
  admit?: (tx: Tx, user: UserRow) => Promise<void>;
}

/** @throws AppError `not_found`, also for a session of another user. */
export async function endSession(
  deps: IdentityDeps,
  id: number,
  caller: Caller,
  { userId, admit = async () => {} }: OfUser,
): Promise<void> {
  await inTransaction(deps.sql, async (tx) => {
    const user = await lockUser(tx, userId);
    if (user === undefined) throw notFound('User');
    await admit(tx, user);
    if (!(await deleteSession(tx, userId, id))) throw notFound('Session');
    await recordAudit(tx, {
      ...auditedBy(caller),
      action: 'session.revoked',
      object: { kind: 'session', id },
      detail: { user: user.name },
    });
  });
  deps.authenticator.forget('session', id);
}

/** Ends all sessions of a user except the one that asks; returns how many. */
export async function endOtherSessions(
  deps: IdentityDeps,
  caller: Caller,
  { userId, admit = async () => {} }: OfUser,
): Promise<{ ended: number }> {
  const ended = await inTransaction(deps.sql, async (tx) => {
    const user = await lockUser(tx, userId);
    if (user === undefined) throw notFound('User');
    await admit(tx, user);
    const keptId = caller.maker?.kind === 'session' ? caller.maker.id : null;
    const ended = await deleteOtherSessions(tx, userId, keptId);
    await recordAudit(tx, {
      ...auditedBy(caller),
      action: 'session.others_revoked',
      object: { kind: 'user', id: userId },
      detail: { user: user.name, ended },
    });
    return ended;
  });
  deps.authenticator.forgetUser(userId);
  return { ended };
}
