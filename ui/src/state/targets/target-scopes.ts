// Where a target lies: in its segment and in its target groups. A grant on one of them reaches it.
import type { Scope, Target } from '@opsconductor/protocol';

export function segmentScopes(id: number): Scope[] {
  return [{ kind: 'segment', id }];
}

export function targetScopes({ segmentId, groups }: Pick<Target, 'segmentId' | 'groups'>): Scope[] {
  return [...segmentScopes(segmentId), ...groups.map(({ id }): Scope => ({ kind: 'target_group', id }))];
}
