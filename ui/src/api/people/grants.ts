import type { CreateGrantRequest, RoleGrant, ScopeKind } from '@opsconductor/protocol';
import { apiPaths } from '../../paths.ts';
import { request } from '../client.ts';
import { readAll } from '../page.ts';

/** Returns the grants of a user (without those of the user's groups), of a user group, or on a scope. */
export function listGrants(
  of: { userId: number } | { userGroupId: number } | { scopeKind: ScopeKind; scopeId: number },
  signal?: AbortSignal,
): Promise<RoleGrant[]> {
  return readAll((query) => apiPaths.grants({ ...query, ...of }), { signal });
}

export function createGrant(grant: CreateGrantRequest): Promise<RoleGrant> {
  return request('POST', apiPaths.grants(), { body: grant });
}

export function deleteGrant(id: number): Promise<void> {
  return request('DELETE', apiPaths.grant(id));
}
