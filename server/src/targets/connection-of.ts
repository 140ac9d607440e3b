// What applies to one step on one target, once its job has had its say.
import {
  type ConnectionProtocol,
  defaultPorts,
  type InheritedSettings,
  type JobConnection,
  type LeaseTarget,
} from '@opsconductor/protocol';

export interface Connection {
  protocol: ConnectionProtocol;
  port: number;
  /** Undefined: the credential's own. */
  username: string | undefined;
  /** Undefined: the agent's own. */
  connectTimeoutS: number | undefined;
  keepaliveIntervalS: number | undefined;
}

/** `merged` is what `mergedSettings` gives, `ownPort` the target's own; of `asked` the first wins. */
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
    port: ownPort ?? settings.port ?? defaultPorts[protocol],
    username: settings.username,
    connectTimeoutS: settings.connect_timeout,
    keepaliveIntervalS: settings.keepalive_interval,
  };
}

/** What an agent is told of a target: where it is, and how it is to be reached where that is not left to the agent. */
export function leaseTarget(
  target: Pick<LeaseTarget, 'id' | 'name' | 'host' | 'hostKeys' | 'hostAuthorities' | 'revokedHostKeys'>,
  connection: Connection,
): LeaseTarget {
  const { port, username, connectTimeoutS, keepaliveIntervalS } = connection;
  return {
    ...target,
    port,
    ...(username === undefined ? {} : { username }),
    ...(connectTimeoutS === undefined ? {} : { connectTimeoutS }),
    ...(keepaliveIntervalS === undefined ? {} : { keepaliveIntervalS }),
  };
}
