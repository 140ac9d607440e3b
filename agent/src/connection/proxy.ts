// Decides how a connection leaves: directly, or through the proxy that the environment names.
import { HttpsProxyAgent } from 'https-proxy-agent';

export interface ProxySettings {
  /** `HTTPS_PROXY`; undefined for none. */
  httpsProxy: string | undefined;
  /** `NO_PROXY`: host names, domains with or without a leading dot, `host:port`, or `*`; comma-separated. */
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

export function proxyAgent(proxy: string): HttpsProxyAgent<string> {
  return new HttpsProxyAgent(proxy);
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
      const [, name = entry, onlyPort] = /^(.*?)(?::(\d+))?$/.exec(entry) ?? [];
      if (onlyPort !== undefined && onlyPort !== port) return false;
      const domain = name.replace(/^\*?\./, '').toLowerCase();
      return host.toLowerCase() === domain || host.toLowerCase().endsWith(`.${domain}`);
    });
}

export const withoutProxy: ProxySettings = { httpsProxy: undefined, noProxy: undefined };
