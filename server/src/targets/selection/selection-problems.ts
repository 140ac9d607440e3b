// Why a selected target can't be run on, in words.
import type { ConnectionProtocol, SelectionProblem } from '@opsconductor/protocol';
import type { SelectedRow } from '../../store/targets/target-selection.ts';
import { barredWay } from '../jump-hosts.ts';

/** Returns the problem of one target as a sentence. */
export function sentenceOf(problem: SelectionProblem, row: SelectedRow): string {
  switch (problem) {
    case 'run_forbidden':
      return `You may not run on target “${row.name}”: that needs the permission run on it.`;
    case 'credential_forbidden':
      if (row.barredJumpHost !== null) return barredWay(row.name, row.barredJumpHost);
      return `You may not use credentials on target “${row.name}”: that needs the permission credentials.use on it.`;
    case 'inactive':
      return `Target “${row.name}” is inactive: activate it to run on it.`;
    case 'no_agent':
      return `Segment “${row.segmentName}” of target “${row.name}” never had an agent: add one first.`;
    case 'protocol':
      return wrongProtocol(row.name, row.protocol, 'a step of the job');
    case 'no_credential':
      return row.missingCredential === null
        ? `Target “${row.name}” has no credential: choose one for it, for a group of it or for its segment.`
        : `Segment “${row.segmentName}” of target “${row.name}” has no credential named “${row.missingCredential}”, which the job asks for.`;
  }
}

/** Returns the problem of a target that the given step or command can't reach with its protocol. */
export function wrongProtocol(target: string, protocol: ConnectionProtocol, what: string): string {
  const [has, needs] = protocol === 'winrm' ? ['WinRM', 'SSH'] : ['SSH', 'WinRM'];
  return `Target “${target}” is set to be reached by ${has}, and ${what} needs ${needs}.`;
}

const summaries: Record<SelectionProblem, string> = {
  run_forbidden: 'You may not run on these: that needs the permission run on them.',
  credential_forbidden:
    'You may not use credentials on these, or on a jump host on the way to them: that needs the permission credentials.use.',
  inactive: 'These are inactive: activate them to run on them.',
  no_agent: 'The segments of these never had an agent: add one first.',
  protocol: 'These are set to be reached by SSH, and a step of the job needs WinRM; or the other way round.',
  no_credential:
    'These have no credential, or not the one that the job names: choose one for them, a group or the segment.',
};

/** Returns the problem of several targets as a sentence. */
export function summaryOf(problem: SelectionProblem): string {
  return summaries[problem];
}
