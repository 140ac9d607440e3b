import type { AgentCapability } from '@opsconductor/protocol';

/** What this agent can do that earlier ones could not; it tells each server so. */
export const capabilities: readonly AgentCapability[] = [
  'username_setting',
  'clean_up',
  'scan_hosts',
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
  'ssh_settings',
  'reboot',
  'wait_for',
  'ssh.copy',
  'sftp.upload',
  'sftp.download',
  'sftp.sync',
  'winrm.copy',
  // What they are kept in is entered as directories of a policy are.
  ...(process.platform === 'linux' ? (['server_files'] as const) : []),
];
