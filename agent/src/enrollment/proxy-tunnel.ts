// Opens a raw connection through an HTTP proxy (RFC 9110 section 9.3.6), to look at a server's certificate before there
// is a CA to verify it with.
import { once } from 'node:events';
import { request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import type { Socket } from 'node:net';
import { bareHost } from '../connection/proxy.ts';
import { explainProxyTls, ProxyRefusal } from '../connection/proxy-refusal.ts';

/**
 * Opens a tunnel to a host through an HTTP proxy, with the name and password in its URL.
 * @throws {ProxyRefusal} if the proxy refuses
 */
export async function connectThroughProxy(
  proxy: string,
  host: string,
  port: number,
  signal: AbortSignal,
): Promise<Socket> {
  const url = new URL(proxy);
  const authority = `${host.includes(':') ? `[${host}]` : host}:${port}`;
  const { username, password } = url;
  const credentials = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  const request = (url.protocol === 'https:' ? requestHttps : requestHttp)({
    host: bareHost(url),
    port: url.port || (url.protocol === 'https:' ? 443 : 80),
    method: 'CONNECT',
    path: authority,
    agent: false,
    signal,
    headers: {
      host: authority,
      ...(username === ''
        ? {}
        : { 'proxy-authorization': `Basic ${Buffer.from(credentials).toString('base64')}` }),
    },
  });
  request.end();
  const [response, socket] = (await once(request, 'connect', { signal }).catch((error: unknown) => {
    throw explainProxyTls(url, error) ?? error;
  })) as [{ statusCode?: number }, Socket];
  if (response.statusCode === 200) return socket;
  socket.destroy();
  throw new ProxyRefusal(url, authority, response.statusCode ?? 0);
}
