import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { SshError } from './ssh-error.ts';

/**
 * Returns the addresses of a target, in the resolver's order. This is the only place where a target's name becomes
 * addresses, so that exactly the addresses that were checked are dialed. Rejects with `name_not_found`.
 */
export async function resolveTarget(host: string): Promise<string[]> {
  const literal = literalAddress(host);
  if (literal.length > 0) return literal;
  try {
    const found = await lookup(host, { all: true, verbatim: true });
    if (found.length > 0) return found.map(({ address }) => address);
  } catch (error) {
    throw notFound(host, error);
  }
  throw notFound(host, undefined);
}

/** Returns the address if a host is given as one, with or without brackets; nothing for a name. */
export function literalAddress(host: string): string[] {
  const literal = host.startsWith('[') && host.endsWith(']') ? host.slice(1, -1) : host;
  return isIP(literal) ? [literal] : [];
}

function notFound(host: string, cause: unknown): SshError {
  const code = (cause as NodeJS.ErrnoException | undefined)?.code ?? 'no address';
  return new SshError({
    reason: 'name_not_found',
    message: `The name ${host} could not be resolved from the agent (${code}).`,
    advice: "Check the target's host name, and the name servers of the machine the agent runs on.",
    retryable: code === 'EAI_AGAIN',
    cause,
  });
}
