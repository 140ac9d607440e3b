// Audit rows of grants, including grants that end with their scope or with their user or group.
import type { Scope } from '@opsconductor/protocol';
import type { AuditEntry } from '../audit/record-audit.ts';
import { recordAudits } from '../audit/record-audits.ts';
import { auditedBy, type Caller } from '../caller.ts';
import type { Tx } from '../store/database/connection.ts';
import { type GrantRow, listGrantsLike } from '../store/people/grants.ts';

/** Returns the audit row for a grant that is created or revoked. */
export function grantEntry(
  caller: Caller,
  action: 'grant.created' | 'grant.deleted',
  { id, subject, role, permission, scope }: GrantRow,
): AuditEntry & { detail: Record<string, unknown> } {
  return {
    ...auditedBy(caller),
    action,
    object: { kind: 'grant', id },
    detail: { subject, ...(role === null ? { permission } : { role }), scope: scope ?? 'everywhere' },
  };
}

/**
 * Writes a row for each grant that ends with what is about to be deleted. Call it once that is locked against further
 * grants.
 * @returns how many end.
 */
export async function recordGoingGrants(
  tx: Tx,
  { kind, id }: { kind: Scope['kind'] | 'user' | 'user_group'; id: number },
  caller: Caller,
): Promise<number> {
  const subject = { user: { userId: id }, user_group: { userGroupId: id } };
  const filter = kind === 'user' || kind === 'user_group' ? subject[kind] : { scopeKind: kind, scopeId: id };
  const grants = await listGrantsLike(tx, filter);
  const entries = grants.map((grant) => {
    const entry = grantEntry(caller, 'grant.deleted', grant);
    return { ...entry, detail: { ...entry.detail, deletedWith: kind } };
  });
  await recordAudits(tx, entries);
  return grants.length;
}
