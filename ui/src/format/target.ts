// A target in words.
import { defaultPorts, type Target } from '@opsconductor/protocol';

type Reached = Pick<Target, 'host' | 'effective'>;

/** Where it is reached: the host, with its port where that isn't its protocol's own. */
export function addressOf({ host, effective }: Reached): string {
  if (effective.port === defaultPorts[effective.protocol]) return host;
  return `${host.includes(':') ? `[${host}]` : host}:${effective.port}`;
}
