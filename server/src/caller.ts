// The user who requests a change: what the audit row and `created_by` need, independent of HTTP.
import { type AuditEntry, userActor } from './audit/record-audit.ts';
import type { Authority } from './auth/authority.ts';
import { type MakerKey, makerKeyOf } from './auth/making.ts';
import type { Principal } from './auth/principal.ts';

export interface Caller {
  userId: number;
  name: string;
  authority: Authority;
  /** Name of the API token they used, if any. */
  tokenName?: string;
  /** The session or API token with which they ask; absent for what the server does by itself. */
  maker?: MakerKey;
  address: string;
  requestId: string;
}

/** Returns the caller of a request by a signed-in user. */
export function callerOf(request: { principal: Principal; address: string; requestId: string }): Caller {
  const { userId, name, authority, tokenName } = request.principal;
  const { address, requestId } = request;
  const maker = makerKeyOf(request.principal);
  const byToken = tokenName === undefined ? {} : { tokenName };
  return { userId, name, authority, maker, address, requestId, ...byToken };
}

/** Returns the caller's part of an audit row. */
export function auditedBy(caller: Caller): Pick<AuditEntry, 'actor' | 'origin'> {
  return {
    actor: userActor(caller),
    origin: { address: caller.address, requestId: caller.requestId },
  };
}
