// What the console and the CLI are told about the signed-in user.
import type { Me, PermissionReach, Scope } from '@opsconductor/protocol';
import type { UserRow } from '../../store/people/users.ts';
import type { Authority, Reach } from '../authority.ts';
import type { Principal } from '../principal.ts';

/** How the caller signed in. With a restricted API token, `authority` is less than the user's. */
export interface Entered {
  via: Principal['via'];
  authority: Authority;
  needsCurrentPassword: boolean;
}

export function describeMe(user: UserRow, { via, authority, needsCurrentPassword }: Entered): Me {
  const permissions = [...authority.permissions()];
  return {
    id: user.id,
    name: user.name,
    displayName: user.displayName,
    kind: user.kind,
    roles: [...new Set(user.grants.flatMap(({ role }) => role ?? []))].sort(),
    permissions,
    reach: permissions.map((permission): PermissionReach => {
      const within = authority
        .reach(permission)
        .filter((reach) => !reach.everywhere)
        .map(scopesOf);
      return { permission, everywhere: within.length === 0, within };
    }),
    hasPassword: user.passwordHash !== null,
    needsCurrentPassword,
    via,
  };
}

function scopesOf(reach: Reach): Scope[] {
  return [
    ...reach.categoryIds.map((id): Scope => ({ kind: 'category', id })),
    ...reach.segmentIds.map((id): Scope => ({ kind: 'segment', id })),
    ...reach.targetGroupIds.map((id): Scope => ({ kind: 'target_group', id })),
  ];
}
