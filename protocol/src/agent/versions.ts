// What both sides of a connection agree on first: versions, capabilities, and close codes.

export const subprotocol = 'opsconductor.v1';
export const protocolVersions: readonly number[] = [1];
/**
 * Chosen by an agent that shares no version with the server: it is refused, but the server knows which agent it was.
 */
export const noVersionInCommon = 0;

/**
 * Capabilities that not every agent of this protocol version has, so that the server never asks an agent for something
 * that it can't do. An agent lists its own in `resume`; each side ignores names that it doesn't know.
 */
export const agentCapabilities = [
  /** Logs in as the `username` of a lease's target. */
  'username_setting',
  /** Answers `clean_up`. */
  'clean_up',
  /** Answers `scan_hosts`, and supports host authorities and revoked host keys. */
  'scan_hosts',
  /** Goes through the jump hosts of `scan_hosts`. */
  'scan_jumps',
  /** Supports `survive_agent_restart` in a step's configuration. */
  'survive_agent_restart',
  /** Supports `limits` and `on_output_limit` in a step's configuration. */
  'step_limits',
  /** Fills in a step's placeholders, opens sealed values, and masks them. */
  'render',
  /** Evaluates a step's `when`, and reports `skipped`. */
  'conditions',
  /** Extracts the outputs of a step. */
  'outputs',
  /** Supports `shell` in a step's configuration. */
  'bash',
  /** Reaches targets by WinRM, and runs steps of this type there. */
  'winrm.exec',
  /** Takes over commands begun by other agents, on `take_over`, and leaves its own to an agent that takes them over. */
  'take_over',
  /** Supports `interpreter`, `stdin` and `pty` in a step's configuration. */
  'interpreters',
  /** Supports `become` in a step's configuration, and in `clean_up`. */
  'become',
  /** Supports `become` in steps that transfer files. */
  'become_transfers',
  /** Supports `run_as` in a step's configuration. */
  'run_as',
  /** Supports `stdin`, `limits`, `on_output_limit` and `run_as_credential` in the configuration of `winrm.exec`. */
  'winrm_options',
  /** Goes through jump hosts, and respects a target's algorithm policy and maximum number of connections. */
  'ssh_settings',
  /** Step types unknown to agents of the first version: each is a capability with its name. */
  'reboot',
  'wait_for',
  'ssh.copy',
  'sftp.upload',
  'sftp.download',
  'sftp.sync',
  'winrm.copy',
  /** Downloads files from the server, and uploads artifacts to it. */
  'server_files',
  /** Makes new keys of its own, on `newKeysWanted`. */
  'new_keys',
  /** Masks text in the form of a secret, if a lease has `detectSecrets`. */
  'detect_secrets',
  /** Prepares waiting shells for the steps that `prepare` names. */
  'prepare',
  /** Keeps steps that were leased ahead of their turn, until the step before them has succeeded. */
  'leases_ahead',
] as const;
export type AgentCapability = (typeof agentCapabilities)[number];
/**
 * Listed among the capabilities: the agent's owner allows it to run only what is signed, or only what is signed for it
 * alone.
 */
export const agentDemands = ['signed_runs_only', 'signed_for_one_agent'] as const;
export type AgentDemand = (typeof agentDemands)[number];

/** Capabilities of servers, which list theirs in `welcome`. */
export const serverCapabilities = [
  /** Knows the possible ends of a command that survives its agent. */
  'survive_agent_restart',
  /** Knows the status `skipped` of a completion. */
  'conditions',
  /** Supports `output_lost` in `return`, and has another agent take the command over. */
  'take_over',
  /** Accepts `progress`. */
  'transfers',
  /** Answers `content`. */
  'server_files',
  /** Accepts the command's resource use in its outcome. */
  'measured_use',
  /** Accepts `new_keys`. */
  'new_keys',
  /** Accepts `policy_read`. */
  'policy_read',
  /** Accepts detections in an outcome: what was masked because of its form. */
  'detections',
  /** Accepts `target_silence`. */
  'target_silence',
] as const;
export type ServerCapability = (typeof serverCapabilities)[number];

/** WebSocket close codes of this protocol, and the agent's reaction to each. */
export const closeCodes = {
  /** 4000: the schema rejects a message or frame. The agent reconnects, slowly. */
  invalidMessage: 4000,
  /** 4001: the agent's identity is not proven, or it is revoked or disabled. It retries every few minutes. */
  unauthenticated: 4001,
  /** 4003: the connect generation is older than the last one acknowledged, so a copy of this agent exists. */
  quarantined: 4003,
  /** 4005: no protocol version in common. */
  noCommonVersion: 4005,
  /** 4008: the handshake took too long, or too many are open from one address. */
  handshakeTimeout: 4008,
  /** 4009: the same agent authenticated elsewhere; the newest session wins. */
  replaced: 4009,
  /** 4010: no heartbeat within the lease TTL. */
  silent: 4010,
  /** 4011: sent by the agent, to report a policy that it has read again; it reconnects immediately. */
  policyRead: 4011,
  /** 1012: the server restarts. The agent reconnects at once, with jitter. */
  serverRestart: 1012,
} as const;
