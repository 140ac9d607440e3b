// Where a request comes from: the peer's address, or the address that the proxy in front reports.
import type { IncomingMessage } from 'node:http';

/**
 * Returns the address in the last entry of `X-Forwarded-For`. The proxy added that one; the entries before it are only
 * what the client claims.
 */
export function forwardedAddress(header: string | undefined): string | undefined {
  const last = header?.split(',').at(-1)?.trim();
  return last === undefined || last === '' ? undefined : plainAddress(last.slice(0, 100));
}

/**
 * Some proxies add the client's port, and those that listen on IPv6 for both write IPv4 addresses as part of it. What
 * is counted by address would otherwise be counted by connection, or for all IPv4 clients together.
 */
function plainAddress(entry: string): string {
  const [, bracketed] = /^\[([0-9a-f:.]+)\](?::\d+)?$/i.exec(entry) ?? [];
  const address = bracketed ?? entry.replace(/^(\d+(?:\.\d+){3}):\d+$/, '$1');
  return withoutMapping(address);
}

function withoutMapping(address: string): string {
  return address.replace(/^::ffff:(?=\d+\.)/i, '');
}

/** Returns the address of a request; empty if its connection is gone. */
export function peerAddress(request: IncomingMessage, behindTlsProxy: boolean): string {
  const { 'x-forwarded-for': header } = request.headers;
  const forwarded = behindTlsProxy ? forwardedAddress(String(header ?? '')) : undefined;
  return forwarded ?? withoutMapping(request.socket.remoteAddress ?? '');
}
