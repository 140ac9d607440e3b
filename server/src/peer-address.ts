// Where a connection comes from: the peer's address, or what the proxy in front says of it.
import type { IncomingMessage } from 'node:http';

/** Of `X-Forwarded-For` the last entry, which is the proxy's own; those before it are what the client claims. */
export function forwardedAddress(header: string | undefined): string | undefined {
  const last = header?.split(',').at(-1)?.trim();
  return last === undefined || last === '' ? undefined : last.slice(0, 100);
}

/** The address of a request; empty where its connection is gone. */
export function peerAddress(request: IncomingMessage, behindTlsProxy: boolean): string {
  const { 'x-forwarded-for': header } = request.headers;
  const forwarded = behindTlsProxy ? forwardedAddress(String(header ?? '')) : undefined;
  return forwarded ?? (request.socket.remoteAddress ?? '').replace(/^::ffff:(?=\d+\.)/, '');
}
