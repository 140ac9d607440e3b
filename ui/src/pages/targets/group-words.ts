// Why a target is in a target group or not, and which groups are made of others.
import { type GroupEntry, parseSelector, patternsOf, type TargetGroup } from '@opsconductor/protocol';

/** Why it is a member: because it is listed, or because the selector selects it. */
export function whyMember(targetId: number, entries: readonly GroupEntry[]): 'listed' | 'selected' {
  return entries.some((entry) => entry.targetId === targetId && !entry.excluded) ? 'listed' : 'selected';
}

/** Groups whose selector names this one. */
export function groupsSelecting(name: string, groups: readonly TargetGroup[]): TargetGroup[] {
  return groups.filter(({ selector }) => selector !== null && namesGroup(selector, name));
}

function namesGroup(selector: string, name: string): boolean {
  return patternsOf(parseSelector(selector), 'group').some(({ pattern }) => pattern === name);
}
