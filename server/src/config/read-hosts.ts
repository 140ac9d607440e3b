// Reads the names by which this server may be addressed.
import { isIPv6 } from 'node:net';
import type { Flags } from './flags.ts';
import type { SettingReader } from './setting-reader.ts';
import { withoutBrackets } from './setting-values.ts';

const hostPattern = /^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$/;

/**
 * Returns the host names and IP addresses by which this server may be reached besides its own, in lower case; the public
 * URL’s is one. The private CA's certificate is for all of them.
 */
export function readHosts(flags: Flags, read: SettingReader, publicUrl: string | undefined): string[] {
  const fromFlags = flags.allowedHost ?? [];
  const fromVariable = read.variable('OPSCONDUCTOR_ALLOWED_HOSTS')?.split(',') ?? [];
  const given = fromFlags.length > 0 ? fromFlags : fromVariable;
  const hosts = given.map((name) => withoutBrackets(name.trim().toLowerCase()));
  const name = fromFlags.length > 0 ? '--allowed-host' : 'OPSCONDUCTOR_ALLOWED_HOSTS';
  for (const host of hosts) {
    if (!hostPattern.test(host) && !isIPv6(host))
      read.problems.push(
        `${name}: found ${JSON.stringify(host)}; allowed: a host name or an IP address, without port or wildcard`,
      );
  }
  if (publicUrl !== undefined) hosts.push(new URL(publicUrl).hostname);
  return [...new Set(hosts)];
}
