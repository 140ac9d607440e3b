// Who asks a feature for a change: what the audit row and `created_by` need, without HTTP.
import type { AuditEntry } from './audit/record-audit.ts';
import type { Authority } from './auth/authority.ts';

export interface Caller {
  userId: number;
  name: string;
  authority: Authority;
  address: string;
  requestId: string;
}

/** The caller of a request by a signed-in user. */
export function callerOf(request: {
  principal: { userId: number; name: string; authority: Authority };
  address: string;
  requestId: string;
}): Caller {
  const { userId, name, authority } = request.principal;
  return { userId, name, authority, address: request.address, requestId: request.requestId };
}

/** The caller's part of an audit row. */
export function auditedBy(caller: Caller): Pick<AuditEntry, 'actor' | 'origin'> {
  return {
    actor: { kind: 'user', id: caller.userId, name: caller.name },
    origin: { address: caller.address, requestId: caller.requestId },
  };
}
