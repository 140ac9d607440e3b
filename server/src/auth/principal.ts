// Who calls, and what that one may do.
import { type Permission, type Role, rolePermissions } from '@opsconductor/protocol';

/** A signed-in user, by session or API token. */
export interface Principal {
  userId: number;
  name: string;
  permissions: ReadonlySet<Permission>;
  via: 'session' | 'api_token';
  /** The session or token row, for sign-out and audit. */
  viaId: number;
}

/** What the roles allow together. Who is signed in may always see and leave their own account. */
export function permissionsOf(roles: readonly Role[]): ReadonlySet<Permission> {
  return new Set<Permission>(['self', ...roles.flatMap((role) => rolePermissions[role])]);
}
