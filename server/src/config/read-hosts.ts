// Reads the names by which this server may be addressed.
import type { Flags } from './flags.ts';
import { type Environment, filled } from './setting-reader.ts';

const hostPattern = /^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$/;

export function readHosts(
  flags: Flags,
  env: Environment,
  publicUrl: string | undefined,
  problems: string[],
): string[] {
  const fromFlags = flags.allowedHost ?? [];
  const given = fromFlags.length > 0 ? fromFlags : (filled(env.OPSCONDUCTOR_ALLOWED_HOSTS)?.split(',') ?? []);
  const hosts = given.map((name) => name.trim().toLowerCase());
  const name = fromFlags.length > 0 ? '--allowed-host' : 'OPSCONDUCTOR_ALLOWED_HOSTS';
  for (const host of hosts) {
    if (!hostPattern.test(host))
      problems.push(`${name}: found ${JSON.stringify(host)}; allowed: a host name without port or wildcard`);
  }
  if (publicUrl !== undefined) hosts.push(new URL(publicUrl).hostname);
  return [...new Set(hosts)];
}
