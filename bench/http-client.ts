// A lean HTTP client on kept connections, so that benchmarks don't measure their own client.
import { once } from 'node:events';
import { Agent, type IncomingMessage, request } from 'node:http';

/**
 * Closes idle connections before the server does, after 5 s: a request on a connection that is being closed would be
 * lost.
 */
const agent = new Agent({ keepAlive: true, noDelay: true, timeout: 4_000 });

interface SendOptions {
  body?: unknown;
  accept?: string;
  /** The address that it is sent from. */
  localAddress?: string | undefined;
}

/** Sends a request, with a JSON body if given; resolves once the headers of the answer have arrived. */
export async function send(
  method: string,
  url: string,
  token: string,
  { body, accept, localAddress }: SendOptions = {},
): Promise<IncomingMessage> {
  const text = body === undefined ? undefined : JSON.stringify(body);
  const headers = {
    Authorization: `Bearer ${token}`,
    ...(accept === undefined ? {} : { Accept: accept }),
    ...(text === undefined
      ? {}
      : { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(text) }),
  };
  const sent = request(url, {
    method,
    headers,
    agent,
    ...(localAddress === undefined ? {} : { localAddress }),
  });
  sent.end(text);
  const [reply] = (await once(sent, 'response')) as [IncomingMessage];
  return reply;
}

export async function readText(reply: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of reply) parts.push(part as Buffer);
  return Buffer.concat(parts).toString();
}

export function isOk({ statusCode = 0 }: IncomingMessage): boolean {
  return statusCode >= 200 && statusCode < 300;
}
