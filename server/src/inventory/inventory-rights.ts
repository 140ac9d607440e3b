import { MissingPermission } from '../auth/missing-permission.ts';
import type { Caller } from '../caller.ts';
import type { PlannedItem } from './plan-changes.ts';

/**
 * @throws {MissingPermission} unless the caller may edit targets in the inventory's segment, or everywhere if it has
 * none.
 */
export function requireInventory(caller: Caller, segment: { id: number; name: string } | null): void {
  const { authority } = caller;
  if (segment === null) {
    if (authority.holdsEverywhere('targets.edit')) return;
    throw new MissingPermission(
      caller,
      'targets.edit',
      'everything, because the inventory belongs to no segment',
    );
  }
  if (!authority.holdsOnSegment('targets.edit', segment.id)) {
    throw new MissingPermission(caller, 'targets.edit', `segment “${segment.name}”`);
  }
}

/**
 * Checks the rights on everything that these items may change: targets in their segments, and target groups if these
 * would change.
 *
 * @param own the segment that the inventory belongs to, if it belongs to one.
 * @returns the segments' ids, ascending.
 * @throws {MissingPermission}
 */
export function requireItems(
  caller: Caller,
  items: readonly PlannedItem[],
  own?: { id: number; name: string },
): number[] {
  const segments = new Map(items.map(({ item }) => [item.segmentId, item.segmentName]));
  if (own !== undefined) segments.set(own.id, own.name);
  requireSegments(
    caller,
    [...segments].map(([id, name]) => ({ id, name })),
  );
  requireGroups(
    caller,
    items.some(({ write }) => write !== undefined && write.join.length + write.leave.length > 0),
  );
  return [...segments.keys()].sort((a, b) => a - b);
}

/**
 * @throws {MissingPermission} unless the caller may edit targets in each of these segments, which are named if they are
 * visible.
 */
function requireSegments(caller: Caller, segments: readonly { id: number; name: string }[]): void {
  const { authority } = caller;
  const refused = segments.find((segment) => !authority.holdsOnSegment('targets.edit', segment.id));
  if (refused === undefined) {
    if (segments.every((segment) => authority.holdsOnSegment('read', segment.id))) return;
    throw new MissingPermission(caller, 'read', 'each segment that the inventory has targets in');
  }
  const isSeen = authority.holdsOnSegment('read', refused.id);
  const where = isSeen ? `segment “${refused.name}”` : 'each segment that the inventory has targets in';
  throw new MissingPermission(caller, 'targets.edit', where);
}

/** @throws {MissingPermission} if groups would change and the caller may not edit them. */
function requireGroups(caller: Caller, changesGroups: boolean): void {
  if (!changesGroups || caller.authority.holdsEverywhere('target_groups.edit')) return;
  throw new MissingPermission(caller, 'target_groups.edit', 'everything');
}
