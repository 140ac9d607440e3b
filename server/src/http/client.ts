// What a request says about its origin: the peer's address, the host it was meant for, the site that sent it.
import type { Socket } from 'node:net';
import type { Context } from 'hono';
import { AppError } from '../errors.ts';
import { forwardedAddress } from '../peer-address.ts';
import { RefusedRequest } from './answers/refused-request.ts';

export interface Access {
  /** Host names besides IP addresses and localhost that this server answers to; lower case, without a port. */
  hosts: readonly string[];
  /** Origins of the console besides the one that the request was sent to: the public URL. */
  origins: readonly string[];
  /** Whether browsers see https: TLS ends here, or at a proxy in front. */
  https: boolean;
  /** Whether a proxy in front adds the client's address to X-Forwarded-For. */
  behindTlsProxy: boolean;
}

/** Returns the peer's address, or the one that the proxy in front saw. */
export function addressOf(context: Context, access: Pick<Access, 'behindTlsProxy'>): string {
  if (access.behindTlsProxy) {
    const forwarded = forwardedAddress(context.req.header('x-forwarded-for'));
    if (forwarded !== undefined) return forwarded;
  }
  return (socketOf(context)?.remoteAddress ?? 'unknown').replace(/^::ffff:(?=\d+\.)/, '');
}

/** Closes the request's connection and discards whatever is still waiting to be sent on it. */
export function cutConnection(context: Context): void {
  socketOf(context)?.destroy();
}

function socketOf(context: Context): Socket | undefined {
  return (context.env as { incoming?: { socket?: Socket } } | undefined)?.incoming?.socket;
}

/**
 * Refuses a request for a host that is not this server. Otherwise a page whose name an attacker points at us (DNS
 * rebinding) would share our origin. An IP address in the Host header can't be rebound.
 */
export function checkHost(context: Context, access: Pick<Access, 'hosts'>): void {
  const host = hostOf(context);
  if (isKnownHost(host, access)) return;
  throw new RefusedRequest(
    421,
    'invalid',
    `This server is not known as ${JSON.stringify(host.slice(0, 100))}. Start it with --public-url or --allowed-host to use that name.`,
  );
}

/** Returns whether a Host header names this server. */
export function isKnownHost(host: string, access: Pick<Access, 'hosts'>): boolean {
  const name = hostName(host);
  return name !== undefined && (isIpAddress(name) || name === 'localhost' || access.hosts.includes(name));
}

function hostOf(context: Context): string {
  return context.req.header('host') ?? new URL(context.req.url).host;
}

function hostName(host: string): string | undefined {
  const match = /^(\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(:\d{1,5})?$/.exec(host.toLowerCase());
  return match?.[1]?.replace(/\.$/, '');
}

function isIpAddress(name: string): boolean {
  return name.startsWith('[') || /^\d{1,3}(\.\d{1,3}){3}$/.test(name);
}

/**
 * Refuses an unsafe request that another site's page sent. Browsers say so in Origin or in Sec-Fetch-Site.
 * @param needed Whether one of the two headers must be present. It must with a cookie, since only browsers hold
 * cookies.
 * @throws AppError `forbidden`
 */
export function checkOrigin(
  context: Context,
  access: Pick<Access, 'origins' | 'https'>,
  needed: boolean,
): void {
  const origin = context.req.header('origin');
  const site = context.req.header('sec-fetch-site');
  if (origin !== undefined) {
    const own = `${access.https ? 'https' : 'http'}://${hostOf(context).toLowerCase()}`;
    if (origin === own || access.origins.includes(origin)) return;
  } else if (site === undefined ? !needed : site === 'same-origin') return;
  throw new AppError(
    'forbidden',
    origin === undefined && site === undefined
      ? 'This request does not say by which page it was sent. Outside a browser, send an API token, or the address of this server as Origin.'
      : 'This request was sent by a page of another site.',
  );
}
