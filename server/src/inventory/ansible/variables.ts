// What is done with each of Ansible's variables: it is carried over, dropped with a reason, or has no meaning here
// unless the inventory's options make labels of it.

/** In each list the last one that is given wins, as in Ansible's connection plugins. */
export const carried = {
  ssh: {
    host: ['ansible_host', 'ansible_ssh_host'],
    port: ['ansible_port', 'ansible_ssh_port'],
    user: ['ansible_user', 'ansible_ssh_user'],
    timeout: ['ansible_timeout', 'ansible_ssh_timeout'],
  },
  winrm: {
    host: ['ansible_host', 'ansible_winrm_host'],
    port: ['ansible_port', 'ansible_winrm_port'],
    user: ['ansible_user', 'ansible_winrm_user'],
    timeout: ['ansible_timeout', 'ansible_winrm_connection_timeout'],
  },
} as const;

const carriedNames = new Set<string>([
  'ansible_connection',
  'ansible_shell_type',
  ...Object.values(carried).flatMap((connection) => Object.values(connection).flat()),
]);

const keyFiles = new Set(['ansible_ssh_private_key_file', 'ansible_private_key_file']);

const reasons: [RegExp, string][] = [
  [
    /^ansible_(?:become|sudo|su)(?:_|$)/,
    'becoming another user is part of a step, not of a target: write `become` into the job',
  ],
  [
    /^ansible_(?:ssh_|scp_|sftp_)?(?:common_args|extra_args|args)$/,
    'instead of ProxyJump or ProxyCommand, name the jump hosts, which must be targets, in `jump_hosts` of the target, its group or its segment, or put an agent where the jump host is; other ssh options are settings there too',
  ],
  [/host_key_checking$/, 'host keys are always checked: accept them once, or import known_hosts'],
  [
    /^ansible_(?:winrm|psrp)_/,
    'for WinRM, protocol, host, port and user are carried over: set `winrm_transport`, `winrm_authentication`, … of the target, its group or its segment',
  ],
  [/_interpreter$/, 'OpsConductor runs nothing on a target that needs an interpreter of its own'],
  [
    /^ansible_(?:ssh_|scp_|sftp_|pipelining|control_path|paramiko_|connection_|shell_|remote_tmp|executable|async_dir|facts?_)/,
    'it sets how Ansible itself works',
  ],
  [/^ansible_group_priority$/, 'as in Ansible, it counts only in the inventory itself'],
];

const secretWords =
  /pass(?:word|wd|phrase)?(?:_|$)|secret|token|api_?key|private_?key(?!_file)|credential|vault_/i;

export type Treatment =
  | { use: 'carry' | 'label' | 'none' }
  | { use: 'key_file' }
  | { use: 'drop'; reason: string; isSecret: boolean };

/** `labels`: variables that the options turn into labels. */
export function treatmentOf(name: string, labels: ReadonlySet<string>): Treatment {
  if (carriedNames.has(name)) return { use: 'carry' };
  if (keyFiles.has(name)) return { use: 'key_file' };
  const isAnsibles = name.startsWith('ansible_');
  if (secretWords.test(name) && (isAnsibles || labels.has(name))) {
    const reason = 'secrets are not taken from inventories: create a credential for it';
    return { use: 'drop', reason, isSecret: true };
  }
  if (labels.has(name)) return { use: 'label' };
  if (!isAnsibles) return { use: 'none' };
  const reason = reasons.find(([pattern]) => pattern.test(name))?.[1] ?? 'it has no equivalent here';
  return { use: 'drop', reason, isSecret: false };
}
