// What uses a credential, in words: what prevents its deletion, and what fails once it is gone.
import type { Credential, CredentialUsage } from '@opsconductor/protocol';
import { counted } from '../../format/quantity.ts';

export function isUsed({ targets, groups, segment, jobs }: CredentialUsage): boolean {
  return segment || targets.total + groups.total + jobs.total > 0;
}

/**
 * `2 targets, 1 group and segment dmz`: what uses the credential, so that the server refuses to delete it; empty if
 * nothing does.
 */
export function keepersOf(
  { targetCount, segmentName }: Pick<Credential, 'targetCount' | 'segmentName'>,
  { targets, groups, segment }: CredentialUsage,
): string {
  // The count includes targets that the user may not see.
  const targetsTotal = Math.max(targetCount, targets.total);
  const parts = [
    ...(targetsTotal > 0 ? [counted(targetsTotal, 'target')] : []),
    ...(groups.total > 0 ? [counted(groups.total, 'group')] : []),
    ...(segment ? [`segment ${segmentName}`] : []),
  ];
  const last = parts.pop();
  return last === undefined || parts.length === 0 ? (last ?? '') : `${parts.join(', ')} and ${last}`;
}
