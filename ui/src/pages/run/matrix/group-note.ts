// What the heading of a group says about its hosts as a whole.
import type { RunDetail } from '@opsconductor/protocol';
import { moment } from '../../../format/moment.ts';
import { causesOf } from '../hosts/causes.ts';
import { type HostGroup, stillIn } from '../hosts/host-groups.ts';

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
  const all = causesOf(stillIn(group), hasAllSteps);
  const [first] = all;
  if (first === undefined) return '';
  return all.length > 1 ? `${all.length} causes` : `${first.stepName}: ${first.reason}`;
}
