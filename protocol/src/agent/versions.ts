// What the sides of a connection agree on before anything else: versions, what each of them can do, how it closes.

export const subprotocol = 'opsconductor.v1';
export const protocolVersions: readonly number[] = [1];
/** What an agent chooses that shares none with the server: it is refused, and the server knows which agent it was. */
export const noVersionInCommon = 0;

/**
 * What not every agent of this protocol version can do, so that the server must not ask it of one that can't. An agent
 * names its own in `resume`; names that a side does not know are passed over.
 */
export const agentCapabilities = [
  /** Logs in as the `username` of a lease's target. */
  'username_setting',
  /** Answers `clean_up`. */
  'clean_up',
  /** Answers `scan_hosts`, and knows host authorities and revoked host keys. */
  'scan_hosts',
  /** Passes the jump hosts of `scan_hosts`. */
  'scan_jumps',
  /** Knows `survive_agent_restart` in the configuration of a step. */
  'survive_agent_restart',
  /** Knows `limits` and `on_output_limit` in the configuration of a step. */
  'step_limits',
  /** Fills in the placeholders of a step, opens sealed values and masks them. */
  'render',
  /** Evaluates `when` of a step, and reports `skipped`. */
  'conditions',
  /** Finds what a step hands on. */
  'outputs',
  /** Knows `shell` in the configuration of a step. */
  'bash',
  /** Reaches targets by WinRM, and runs steps of this type there. */
  'winrm.exec',
  /** Takes up commands that others have begun, on `take_over`, and leaves its own to who takes those up. */
  'take_over',
  /** Knows `interpreter`, `stdin` and `pty` in the configuration of a step. */
  'interpreters',
  /** Knows `become` in the configuration of a step, and in `clean_up`. */
  'become',
  /** Knows it in that of a step that transfers files. */
  'become_transfers',
  /** Knows `run_as` in the configuration of a step. */
  'run_as',
  /** Knows `stdin`, `limits`, `on_output_limit` and `run_as_credential` in the configuration of `winrm.exec`. */
  'winrm_options',
  /** Passes jump hosts, and heeds the algorithm policy and the bound of connections of a target. */
  'ssh_settings',
  /** Step types that agents of the first version do not know: each is a capability of its name. */
  'reboot',
  'wait_for',
  'ssh.copy',
  'sftp.upload',
  'sftp.download',
  'sftp.sync',
  'winrm.copy',
  /** Gets files from the server, and hands artifacts over to it. */
  'server_files',
  /** Makes new keys of its own, on `newKeysWanted`. */
  'new_keys',
  /** Masks what has the form of a secret, on `detectSecrets` of a lease. */
  'detect_secrets',
  /** Starts shells for the steps that `prepare` names. */
  'prepare',
] as const;
export type AgentCapability = (typeof agentCapabilities)[number];
/** Named among them: the agent's owner lets it run only what is signed; and only what is signed for it alone. */
export const agentDemands = ['signed_runs_only', 'signed_for_one_agent'] as const;
export type AgentDemand = (typeof agentDemands)[number];

/** The same of servers, which name theirs in `welcome`. */
export const serverCapabilities = [
  /** Knows how a command may end that goes on without its agent. */
  'survive_agent_restart',
  /** Knows the status `skipped` of a completion. */
  'conditions',
  /** Knows `output_lost` in `return`, and has somebody else take the command up. */
  'take_over',
  /** Takes `progress`. */
  'transfers',
  /** Answers `content`. */
  'server_files',
  /** Takes what a command has used in its outcome. */
  'measured_use',
  /** Takes `new_keys`. */
  'new_keys',
  /** Takes `policy_read`. */
  'policy_read',
  /** Takes what was masked for its form in an outcome. */
  'detections',
] as const;
export type ServerCapability = (typeof serverCapabilities)[number];

/** WebSocket close codes of this protocol, with what the agent does about each. */
export const closeCodes = {
  /** 4000: a message or frame that the schema refuses. The agent reconnects, slowly. */
  invalidMessage: 4000,
  /** 4001: identity not proven, revoked or disabled. The agent retries every few minutes. */
  unauthenticated: 4001,
  /** 4003: the connect generation is older than the last one acknowledged: a copy of this agent exists. */
  quarantined: 4003,
  /** 4005: no protocol version in common. */
  noCommonVersion: 4005,
  /** 4008: the handshake took too long, or too many are open from one address. */
  handshakeTimeout: 4008,
  /** 4009: the same agent authenticated elsewhere; the newest session wins. */
  replaced: 4009,
  /** 4010: no heartbeat within the lease TTL. */
  silent: 4010,
  /** 4011: by the agent, to tell of a policy that it has read again; it comes back at once. */
  policyRead: 4011,
  /** 1012: the server restarts. The agent reconnects at once, with jitter. */
  serverRestart: 1012,
} as const;
