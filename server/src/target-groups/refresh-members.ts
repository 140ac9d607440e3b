// Updates the members of target groups, in the transaction of the change that made them outdated. The caller holds
// `lockMembership` from before its change.
import { type Permission, type Role, reachesInto, rolePermissions } from '@opsconductor/protocol';
import { MissingPermission } from '../auth/missing-permission.ts';
import type { Caller } from '../caller.ts';
import type { Tx } from '../store/database/connection.ts';
import {
  grantsOnGroups,
  listSelectingGroups,
  type MembershipChange,
  refreshGroups,
  setMembers,
} from '../store/targets/target-group-members.ts';
import { targetsSeen } from '../store/targets/target-selection.ts';
import { targetsOutside } from '../store/targets/targets.ts';
import { orderGroups, selectingGroup } from './group-order.ts';

/** Each group adds its own condition to one statement. */
const maxGroupsAtOnce = 100;

/**
 * Updates memberships after these targets were created, or changed in something that selectors use.
 * @throws {MissingPermission} if a target would join a group on which others hold what the caller does not hold on the
 * target: that would be a grant.
 */
export async function refreshMembersOfTargets(
  tx: Tx,
  targetIds: readonly number[] | 'all',
  caller: Caller,
): Promise<MembershipChange[]> {
  const levels = orderGroups((await listSelectingGroups(tx)).map(selectingGroup));
  const changes: MembershipChange[] = [];
  for (const level of levels) {
    for (let at = 0; at < level.length; at += maxGroupsAtOnce) {
      changes.push(...(await refreshGroups(tx, level.slice(at, at + maxGroupsAtOnce), targetIds)));
    }
  }
  await refuseWidening(tx, changes, caller);
  return changes;
}

/**
 * Updates memberships after a group's entries, selector or name changed: its own members and those of groups that
 * select it.
 * @param targetIds The targets that the change can affect; all if left out.
 * @throws {MissingPermission} like `refreshMembersOfTargets`.
 */
export async function refreshMembersOfGroup(
  tx: Tx,
  changed: { id: number; name: string },
  caller: Caller,
  targetIds: readonly number[] | 'all' = 'all',
): Promise<MembershipChange[]> {
  const groups = orderGroups((await listSelectingGroups(tx)).map(selectingGroup)).flat();
  const own = groups.find((group) => group.id === changed.id);
  const changes = [...(await refreshGroups(tx, [own ?? { id: changed.id }], targetIds))];
  const stale = new Set([changed.name]);
  for (const group of groups) {
    if (group.id === changed.id || ![...group.selects].some((name) => stale.has(name))) continue;
    stale.add(group.name);
    changes.push(...(await refreshGroups(tx, [group], targetIds)));
  }
  await refuseWidening(tx, changes, caller);
  return changes;
}

/**
 * Adding a target to a group gives it to everyone who holds rights on the group, and callers can give only what they
 * hold.
 */
async function refuseWidening(tx: Tx, changes: readonly MembershipChange[], caller: Caller): Promise<void> {
  const additions = changes.filter((change) => change.added);
  if (additions.length === 0) return;
  const granted = await grantsOnGroups(tx, [...new Set(additions.map((addition) => addition.groupId))]);
  const groupsOf = new Map<Permission, Map<number, string>>();
  for (const { groupId, groupName, role, permission } of granted) {
    const given = role === null ? [permission as Permission] : rolePermissions[role as Role];
    for (const one of given) {
      if (!reachesInto(one, 'target_group') || caller.authority.holdsEverywhere(one)) continue;
      groupsOf.set(one, (groupsOf.get(one) ?? new Map()).set(groupId, groupName));
    }
  }
  if (groupsOf.size === 0) return;
  // What the caller holds on a target through the very membership in question does not count.
  await setMembers(tx, additions, false);
  for (const [permission, groups] of groupsOf) {
    const into = additions.filter((addition) => groups.has(addition.groupId));
    const reaches = caller.authority.reach(permission);
    const [outside] = await targetsOutside(
      tx,
      into.map((addition) => addition.targetId),
      reaches,
    );
    if (outside === undefined) continue;
    const group = groups.get(into.find((one) => one.targetId === outside.id)?.groupId ?? 0);
    // A selector decides on all targets, also on those that the caller may not see.
    const seen = await targetsSeen(tx, [outside.id], caller.authority.reach('read'));
    const target = seen.has(outside.id) ? `target “${outside.name}”` : 'a target that you may not see';
    const where = `${target}, because it would join target group “${group}”, on which others have it`;
    throw new MissingPermission(caller, permission, where);
  }
  await setMembers(tx, additions, true);
}
