import type { AgentCapability, AgentDemand } from '@opsconductor/protocol';

import type { RequireGrant } from './policy/policy-schema.ts';

/** What this agent can do that earlier ones could not; it tells each server so. */
const capabilities: readonly AgentCapability[] = [
  'username_setting',
  'clean_up',
  'scan_hosts',
  'scan_jumps',
  'survive_agent_restart',
  'step_limits',
  'render',
  'conditions',
  'outputs',
  'bash',
  'winrm.exec',
  'take_over',
  'interpreters',
  'become',
  'become_transfers',
  'run_as',
  'winrm_options',
  'ssh_settings',
  'reboot',
  'wait_for',
  'ssh.copy',
  'sftp.upload',
  'sftp.download',
  'sftp.sync',
  'winrm.copy',
  'new_keys',
  'detect_secrets',
  // What they are kept in is entered as directories of a policy are.
  ...(process.platform === 'linux' ? (['server_files'] as const) : []),
];

/** With what its owner asks of runs, for the server to ask their starters for it. */
export function capabilitiesWith(signedRuns: RequireGrant | undefined): (AgentCapability | AgentDemand)[] {
  if (signedRuns === undefined) return [...capabilities];
  const oneAgent = signedRuns.one_agent === true ? (['signed_for_one_agent'] as const) : [];
  return [...capabilities, 'signed_runs_only', ...oneAgent];
}
