// The user who requests a change: what the audit row and `created_by` need, independent of HTTP.
import { type AuditEntry, userActor } from './audit/record-audit.ts';
import type { Authority } from './auth/authority.ts';

export interface Caller {
  userId: number;
  name: string;
  authority: Authority;
  /** Name of the API token they used, if any. */
  tokenName?: string;
  address: string;
  requestId: string;
}

/** Returns the caller of a request by a signed-in user. */
export function callerOf(request: {
  principal: { userId: number; name: string; authority: Authority; tokenName?: string };
  address: string;
  requestId: string;
}): Caller {
  const { userId, name, authority, tokenName } = request.principal;
  const { address, requestId } = request;
  return { userId, name, authority, address, requestId, ...(tokenName === undefined ? {} : { tokenName }) };
}

/** Returns the caller's part of an audit row. */
export function auditedBy(caller: Caller): Pick<AuditEntry, 'actor' | 'origin'> {
  return {
    actor: userActor(caller),
    origin: { address: caller.address, requestId: caller.requestId },
  };
}
