// Where a request comes from: the peer's address, or the address that the proxy in front reports.
import type { IncomingMessage } from 'node:http';

/**
 * Returns the last entry of `X-Forwarded-For`. The proxy added that one; the entries before it are only what the client
 * claims.
 */
export function forwardedAddress(header: string | undefined): string | undefined {
  const last = header?.split(',').at(-1)?.trim();
  return last === undefined || last === '' ? undefined : last.slice(0, 100);
}

/** Returns the address of a request; empty if its connection is gone. */
export function peerAddress(request: IncomingMessage, behindTlsProxy: boolean): string {
  const { 'x-forwarded-for': header } = request.headers;
  const forwarded = behindTlsProxy ? forwardedAddress(String(header ?? '')) : undefined;
  return forwarded ?? (request.socket.remoteAddress ?? '').replace(/^::ffff:(?=\d+\.)/, '');
}
