// The scopes that a target is in: its segment and its target groups. A grant on any of them includes the target.
import type { Scope, Target } from '@opsconductor/protocol';

export function segmentScopes(id: number): Scope[] {
  return [{ kind: 'segment', id }];
}

export function targetScopes({ segmentId, groups }: Pick<Target, 'segmentId' | 'groups'>): Scope[] {
  return [...segmentScopes(segmentId), ...groups.map(({ id }): Scope => ({ kind: 'target_group', id }))];
}
