import type { Permission } from '@opsconductor/protocol';
import { MissingPermission } from '../auth/missing-permission.ts';
import type { Caller } from '../caller.ts';
import type { Queryable } from '../store/database/connection.ts';
import { targetsOutside } from '../store/targets/targets.ts';

/** @throws {MissingPermission} if the caller, who sees the target, may not do this with it. */
export async function requireOnTarget(
  sql: Queryable,
  caller: Caller,
  permission: Permission,
  target: { id: number; name: string },
): Promise<void> {
  if (caller.authority.holdsEverywhere(permission)) return;
  const outside = await targetsOutside(sql, [target.id], caller.authority.reach(permission));
  if (outside.length > 0) throw new MissingPermission(caller, permission, `target “${target.name}”`);
}
