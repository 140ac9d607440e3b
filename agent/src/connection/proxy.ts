// Decides how a connection leaves: directly, or through the proxy that the environment names.
import { isIPv6 } from 'node:net';
import { HttpsProxyAgent } from 'https-proxy-agent';
import { explainProxyTls, ProxyRefusal } from './proxy-refusal.ts';

export interface ProxySettings {
  /** `HTTPS_PROXY`; undefined for none. */
  httpsProxy: string | undefined;
  /**
   * `NO_PROXY`: host names, IP addresses (IPv6 ones with or without brackets), domains with or without a leading dot,
   * `host:port`, or `*`; comma-separated.
   */
  noProxy: string | undefined;
}

/**
 * Returns the proxy's URL for a server, or undefined to connect directly. Loopback and plain HTTP never use a proxy.
 */
export function proxyFor(server: URL, settings: ProxySettings): string | undefined {
  const { httpsProxy, noProxy } = settings;
  if (httpsProxy === undefined || httpsProxy === '' || server.protocol !== 'https:') return undefined;
  const host = bareHost(server);
  if (isLoopback(host) || excluded(host, server.port || '443', noProxy ?? '')) return undefined;
  return httpsProxy.includes('://') ? httpsProxy : `http://${httpsProxy}`;
}

/** Connects through a proxy. What the proxy refuses fails the request, and is not taken for the server's answer. */
class TunnelAgent extends HttpsProxyAgent<string> {
  override async connect(...[request, options]: Parameters<HttpsProxyAgent<string>['connect']>) {
    let status: number | undefined;
    request.once('proxyConnect', (answer: { statusCode: number }) => {
      status = answer.statusCode;
    });
    const socket = await super.connect(request, options).catch((error: unknown) => {
      throw (status === undefined ? explainProxyTls(this.proxy, error) : undefined) ?? error;
    });
    if (status === 200) return socket;
    socket.destroy();
    const host = options.host ?? '';
    const authority = `${host.includes(':') ? `[${host}]` : host}:${options.port}`;
    throw new ProxyRefusal(this.proxy, authority, status ?? 0);
  }
}

export function proxyAgent(proxy: string): HttpsProxyAgent<string> {
  return new TunnelAgent(proxy);
}

/** Returns the host of a URL without the brackets of an IPv6 address. */
export function bareHost(url: URL): string {
  return url.hostname.replace(/^\[|\]$/g, '');
}

export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);
}

function excluded(host: string, port: string, noProxy: string): boolean {
  return noProxy
    .split(/[\s,]+/)
    .filter((entry) => entry !== '')
    .some((entry) => {
      if (entry === '*') return true;
      const { name, port: onlyPort } = readEntry(entry);
      if (onlyPort !== undefined && onlyPort !== port) return false;
      const domain = name.replace(/^\*?\./, '').toLowerCase();
      return host.toLowerCase() === domain || host.toLowerCase().endsWith(`.${domain}`);
    });
}

/** An IPv6 address is returned as URLs spell it. */
function readEntry(entry: string): { name: string; port: string | undefined } {
  const [, inside, portAfter] = /^\[(.*)\](?::(\d+))?$/.exec(entry) ?? [];
  const address = inside ?? entry;
  if (isIPv6(address) && URL.canParse(`http://[${address}]`))
    return { name: bareHost(new URL(`http://[${address}]`)), port: portAfter };
  const [, name = entry, port] = /^(.*?)(?::(\d+))?$/.exec(entry) ?? [];
  return { name, port };
}

export const withoutProxy: ProxySettings = { httpsProxy: undefined, noProxy: undefined };
