// Opens a raw connection through an HTTP proxy (RFC 9110 section 9.3.6), to look at a server's certificate before there
// is a CA to verify it with.
import { once } from 'node:events';
import { request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import type { Socket } from 'node:net';
import { AgentError } from '../agent-error.ts';

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
    host: url.hostname,
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
  const [response, socket] = (await once(request, 'connect', { signal })) as [
    { statusCode?: number },
    Socket,
  ];
  if (response.statusCode === 200) return socket;
  socket.destroy();
  throw new AgentError(
    `The proxy ${url.host} refused a connection to ${authority} (HTTP ${response.statusCode}).`,
    response.statusCode === 407
      ? 'Give the user and password of the proxy in HTTPS_PROXY: http://user:password@proxy:port.'
      : 'Allow that destination on the proxy, or name the server in NO_PROXY to connect directly.',
  );
}
