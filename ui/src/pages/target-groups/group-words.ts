// Why a target is in a target group or not, and which groups build on others.
import { type GroupEntry, parseSelector, patternsOf, type TargetGroup } from '@opsconductor/protocol';
import { counted } from '../../format/quantity.ts';

/** Why a target is a member: it is listed, or the selector selects it. */
export function whyMember(targetId: number, entries: readonly GroupEntry[]): 'listed' | 'selected' {
  return entries.some((entry) => entry.targetId === targetId && !entry.excluded) ? 'listed' : 'selected';
}

/** Returns the groups whose selector names this one. */
export function groupsSelecting(name: string, groups: readonly TargetGroup[]): TargetGroup[] {
  return groups.filter(({ selector }) => selector !== null && namesGroup(selector, name));
}

function namesGroup(selector: string, name: string): boolean {
  return patternsOf(parseSelector(selector), 'group').some(({ pattern }) => pattern === name);
}

/** Introduces what is lost with a group that is deleted. */
export function lostWithMembers({ memberCount }: Pick<TargetGroup, 'memberCount'>): string {
  return memberCount === 0
    ? 'It has no members. Deleted with it:'
    : `${counted(memberCount, 'member stays a target, but loses', 'members stay targets, but lose')} what the group gives:`;
}
