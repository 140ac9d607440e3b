// What applies to one step on one target, once its job's settings are included.
import {
  builtInPort,
  type ConnectionProtocol,
  defaultWinrm,
  type InheritedSettings,
  type JobConnection,
  type LeaseJump,
  type LeaseTarget,
  type LeaseWinrm,
  type SshAlgorithmPolicy,
} from '@opsconductor/protocol';

export interface Connection {
  protocol: ConnectionProtocol;
  port: number;
  /** Undefined: the credential's own. */
  username: string | undefined;
  /** Undefined: the agent's own. */
  connectTimeoutS: number | undefined;
  keepaliveIntervalS: number | undefined;
  /** Names of the targets that the way leads through; empty for a target that is reached by WinRM. */
  jumpHosts: readonly string[];
  /** Undefined: only current algorithms. */
  algorithms: SshAlgorithmPolicy | undefined;
  maxConnections: number | undefined;
  /** For a target that is reached by WinRM. */
  winrm: LeaseWinrm | undefined;
}

/** Returns the protocol by which a step of this type reaches its target. */
export function protocolOf(stepType: string): ConnectionProtocol {
  return stepType.startsWith('winrm.') ? 'winrm' : 'ssh';
}

/** `merged`: the result of `mergedSettings`; `ownPort`: the target's own port; in `asked`, the first setting wins. */
export function connectionOf(
  merged: InheritedSettings,
  ownPort: number | null,
  ...asked: readonly (JobConnection | undefined)[]
): Connection {
  const settings: InheritedSettings = { ...merged };
  for (const of of [...asked].reverse()) {
    const { credential: _, ...given } = of ?? {};
    Object.assign(settings, given);
  }
  const protocol = settings.protocol ?? 'ssh';
  return {
    protocol,
    port: ownPort ?? settings.port ?? builtInPort(settings),
    username: settings.username,
    connectTimeoutS: settings.connect_timeout,
    keepaliveIntervalS: settings.keepalive_interval,
    jumpHosts: protocol === 'ssh' ? (settings.jump_hosts ?? []) : [],
    algorithms: settings.ssh_algorithms,
    maxConnections: settings.max_connections,
    winrm: protocol === 'winrm' ? winrmOf(settings) : undefined,
  };
}

function winrmOf(settings: InheritedSettings): LeaseWinrm {
  const { winrm_transport, winrm_authentication, winrm_principal, winrm_certificate_check, winrm_ca } =
    settings;
  return {
    transport: winrm_transport ?? defaultWinrm.transport,
    authentication: winrm_authentication ?? defaultWinrm.authentication,
    certificateCheck: winrm_certificate_check ?? defaultWinrm.certificateCheck,
    ...(winrm_principal === undefined ? {} : { principal: winrm_principal }),
    ...(winrm_ca === undefined ? {} : { ca: winrm_ca }),
  };
}

/**
 * Returns what an agent is told about a target: where it is, and how to reach it as far as that is not left to the
 * agent.
 */
export function leaseTarget(
  target: Pick<LeaseTarget, 'id' | 'name' | 'host' | 'hostKeys' | 'hostAuthorities' | 'revokedHostKeys'>,
  connection: Connection,
  jumps: readonly LeaseJump[] = [],
): LeaseTarget {
  const { port, username, connectTimeoutS, keepaliveIntervalS, algorithms, maxConnections, winrm } =
    connection;
  return {
    ...target,
    port,
    ...(username === undefined ? {} : { username }),
    ...(connectTimeoutS === undefined ? {} : { connectTimeoutS }),
    ...(keepaliveIntervalS === undefined ? {} : { keepaliveIntervalS }),
    ...(algorithms === undefined || algorithms === 'current' ? {} : { algorithms }),
    ...(maxConnections === undefined ? {} : { maxConnections }),
    ...(jumps.length === 0 ? {} : { jumps: [...jumps] }),
    ...(winrm === undefined ? {} : { winrm }),
  };
}
