// Starters: enough for a list that scrolls, with the longest and the shortest texts.
import type { Job, JobListItem } from '@opsconductor/protocol';
import { jobs } from './fixtures.ts';

const kinds: readonly (readonly [name: string, description: string, category: string, steps: number])[] = [
  ['Run a command', 'One command on each host, with a time limit', 'general', 1],
  ['Patch Debian hosts', 'Snapshot, upgrade, restart what needs it, verify', 'patching', 4],
  ['Patch RHEL hosts', 'The same with dnf', 'patching', 4],
  ['Patch Windows hosts', '', 'patching', 3],
  ['Rolling restart', 'One after the other, with a check of the load balancer between them', 'deployment', 5],
  [
    'Deploy an artifact',
    'Copies a file, links it, restarts the unit, and goes back if that fails',
    'deployment',
    6,
  ],
  [
    'Rotate the certificates of everything behind the public load balancers of both sites',
    'Requests, checks, copies and reloads, and keeps the old ones for a week in case that clients with pinned certificates turn up after all',
    'network',
    9,
  ],
  ['Back up a database', 'pg_dump into an artifact', 'general', 2],
  ['Restore a database', 'Into a scratch host, with a count of rows', 'general', 3],
  ['Collect diagnostics', 'Logs, open files and connections as artifacts', 'general', 7],
  ['Clean up disks', 'Lists what is large and old; deletes only if told to', 'general', 2],
  ['Reboot', '', 'general', 1],
  ['Change a password', 'From a secret parameter', 'general', 1],
  ['Compare configurations', 'With what was saved last', 'network', 2],
  ['Update firmware', 'Once it was tried on one device', 'network', 8],
  ['Decommission', 'Out of pools, monitoring and DNS', 'deployment', 5],
];
const stateAt = (at: number) => (at === 5 ? 'draft' : at === 12 ? 'inactive' : 'active');

export const starters: (JobListItem & Job)[] = kinds.map(([name, description, category, stepCount], at) => {
  const [like] = jobs as [JobListItem & Job];
  return {
    ...like,
    ...{ id: 201 + at, name, description, category, stepCount, version: 1 + ((at * 5) % 7) },
    state: stateAt(at),
    isActive: stateAt(at) === 'active',
    isTemplate: true,
    labels: at % 4 === 1 ? { os: 'linux', team: 'platform' } : {},
    stepTypes: at % 3 === 2 ? ['ssh.exec', 'sftp.sync', 'winrm.exec'] : ['ssh.exec'],
    lastRuns: [],
    definition: { ...like.definition, name, description, template: true },
  };
});
