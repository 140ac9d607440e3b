// Describes a target in words.
import { defaultPorts, type Target } from '@opsconductor/protocol';

type Reached = Pick<Target, 'host' | 'effective'>;

/** A target's address: the host, with the port unless it is the protocol's default. */
export function addressOf({ host, effective }: Reached): string {
  if (effective.port === defaultPorts[effective.protocol]) return host;
  return `${host.includes(':') ? `[${host}]` : host}:${effective.port}`;
}
