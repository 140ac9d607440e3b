// A lean HTTP client on kept connections: what a benchmark measures is not its own client.
import { once } from 'node:events';
import { Agent, type IncomingMessage, request } from 'node:http';

/** Connections are let go of before the server closes them, after 5 s: a request on one that is being closed would be lost. */
const agent = new Agent({ keepAlive: true, noDelay: true, timeout: 4_000 });

/** Sends a request, with a JSON body where there is one; resolves with the answer once its head is there. */
export async function send(
  method: string,
  url: string,
  token: string,
  body?: unknown,
  accept?: string,
  /** The address it is sent from. */
  localAddress?: string,
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
