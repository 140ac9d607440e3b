// What the heading of a group says about its hosts as a whole.
import type { RunDetail } from '@opsconductor/protocol';
import { moment } from '../../../format/moment.ts';
import { type HostGroup, stillIn } from '../host-groups.ts';
import { shortReason } from '../step-words.ts';

export function groupNote(
  group: HostGroup,
  about: {
    run: Pick<RunDetail, 'startedAt' | 'startBy'>;
    /** Number of decisions that hosts wait for; undefined until known. */
    decisions: number | undefined;
    hasAllSteps: boolean;
    now: number;
  },
): string {
  if (stillIn(group).length === 0) return '';
  const { run, decisions, hasAllSteps, now } = about;
  switch (group.status) {
    case 'running':
      return group.hosts.length > 1 ? 'longest first' : '';
    case 'queued':
      return run.startedAt === null ? `must start by ${moment(run.startBy, now)}` : '';
    case 'unknown':
      return 'what happened isn’t known';
    case 'held':
      if (decisions === undefined || decisions === 0) return 'waiting for a decision';
      return decisions === 1 ? 'one decision, above' : `${decisions} decisions, above`;
    case 'cancelling':
      return 'stop requested, not confirmed';
    case 'failed':
    case 'timed_out':
      return causes(group, hasAllSteps);
    default:
      return '';
  }
}

function causes(group: HostGroup, hasAllSteps: boolean): string {
  const reasons = new Set<string>();
  for (const host of group.hosts) {
    // Say nothing about all hosts while some are unknown.
    if (!hasAllSteps && host.steps.length === 0) return '';
    const bad = host.steps.find((step) => step.status === 'failed' || step.status === 'timed_out');
    if (bad !== undefined) reasons.add(`${bad.name}: ${shortReason(bad)}`);
  }
  const [first] = reasons;
  if (first === undefined) return '';
  return reasons.size === 1 ? first : `${reasons.size} causes`;
}
