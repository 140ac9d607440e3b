// Sends a JSON request to the server's API over a verified connection.
import { once } from 'node:events';
import { type ClientRequest, type IncomingMessage, request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import { type ProxySettings, proxyAgent, proxyFor } from '../connection/proxy.ts';

const timeoutMs = 30_000;
export interface ServerAccess {
  server: string;
  /** PEM of the only CA to trust; undefined trusts the system's CAs. */
  ca: string | undefined;
  proxy: ProxySettings;
}

export interface JsonReply {
  status: number;
  /** Undefined if the reply was not JSON. */
  body: unknown;
  /** The `Date` header, in ms since 1970: the time by the server's clock. */
  serverTimeMs: number | undefined;
  /** Seconds after which to ask again, if the server says so. */
  retryAfterS: number | undefined;
}

export interface JsonRequestOptions {
  headers?: Record<string, string>;
  /** A longer reply is rejected; 1 MiB by default. */
  maxReplyBytes?: number;
}

/** Rejects with the system's or TLS's error if the server can't be reached or is not genuine. */
export async function requestJson(
  access: ServerAccess,
  path: string,
  body?: unknown,
  { headers = {}, maxReplyBytes = 1024 * 1024 }: JsonRequestOptions = {},
): Promise<JsonReply> {
  const url = new URL(path, access.server);
  const through = proxyFor(url, access.proxy);
  const text = body === undefined ? undefined : JSON.stringify(body);
  const request = (url.protocol === 'https:' ? requestHttps : requestHttp)(url, {
    method: text === undefined ? 'GET' : 'POST',
    signal: AbortSignal.timeout(timeoutMs),
    ...(access.ca === undefined ? {} : { ca: access.ca }),
    agent: through === undefined ? false : proxyAgent(through),
    headers: {
      ...headers,
      accept: 'application/json',
      ...(text === undefined
        ? {}
        : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }),
    },
  });
  request.end(text);
  const response = await responseTo(request);
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of response as AsyncIterable<Buffer>) {
    bytes += part.length;
    if (bytes > maxReplyBytes) throw new Error(`The server's reply is larger than ${maxReplyBytes} bytes`);
    parts.push(part);
  }
  const serverTimeMs = Date.parse(response.headers.date ?? '');
  const retryAfter = response.headers['retry-after'] ?? '';
  return {
    status: response.statusCode ?? 0,
    body: parse(Buffer.concat(parts).toString('utf8')),
    serverTimeMs: Number.isNaN(serverTimeMs) ? undefined : serverTimeMs,
    retryAfterS: /^\d{1,4}$/.test(retryAfter) ? Number(retryAfter) : undefined,
  };
}

async function responseTo(request: ClientRequest): Promise<IncomingMessage> {
  // After a reply that switches protocols, Node.js reports no error any more, not even at the time limit.
  const closed = once(request, 'close').then(() => {
    throw new Error('The connection was closed without a reply');
  });
  const [response] = (await Promise.race([once(request, 'response'), closed])) as [IncomingMessage];
  return response;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
