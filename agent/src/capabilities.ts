import type { AgentCapability, AgentDemand } from '@opsconductor/protocol';

import type { RequireGrant } from './policy/policy-schema.ts';

/** What this agent can do that earlier ones could not. It tells every server. */
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
  'prepare',
  'leases_ahead',
  // The folder that keeps these files is opened the same way as a policy's file roots, which works only on Linux.
  ...(process.platform === 'linux' ? (['server_files'] as const) : []),
];

/** Adds what the owner requires of runs, so that the server asks for it when a run is started. */
export function capabilitiesWith(signedRuns: RequireGrant | undefined): (AgentCapability | AgentDemand)[] {
  if (signedRuns === undefined) return [...capabilities];
  const oneAgent = signedRuns.one_agent === true ? (['signed_for_one_agent'] as const) : [];
  return [...capabilities, 'signed_runs_only', ...oneAgent];
}
