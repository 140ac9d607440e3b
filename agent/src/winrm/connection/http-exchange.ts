// One HTTP request and its bounded reply, over an agent that has one socket at a time: NTLM and Kerberos authenticate
// the socket and not the request.
import { Agent, type IncomingHttpHeaders, request } from 'node:http';
import type { Socket } from 'node:net';
import { GatheredBytes } from '../../memory/gathered-bytes.ts';
import { protocolError, WinrmError } from '../winrm-error.ts';

/** Wraps a failure to dial, which means that nothing was sent. */
class DialFailure extends Error {}

/** Also used for HTTPS, because the socket from `dial` is already secure. */
export class OneSocketAgent extends Agent {
  readonly #dial: () => Promise<Socket>;

  constructor(dial: () => Promise<Socket>) {
    super({ keepAlive: true, maxSockets: 1, maxFreeSockets: 1 });
    this.#dial = dial;
  }

  override createConnection(
    _options: unknown,
    callback?: (error: Error | null, socket: never) => void,
  ): undefined {
    this.#dial().then(
      (socket) => callback?.(null, socket as never),
      (error) => callback?.(new DialFailure('dialing failed', { cause: error }), undefined as never),
    );
  }
}

export interface Exchange {
  agent: OneSocketAgent;
  host: string;
  port: number;
  path: string;
  headers: Record<string, string>;
  body: Buffer;
  timeoutMs: number;
  maxReplyBytes: number;
  signal: AbortSignal | undefined;
}

export interface HttpReply {
  status: number;
  headers: IncomingHttpHeaders;
  body: Buffer;
  /** The socket that carried the request. */
  socket: Socket;
}

/**
 * Sends the request and returns the reply.
 *
 * @throws {WinrmError} `no_answer` or `ambiguous` if the host may have acted on it, `protocol` for a reply that is too
 * long; whatever dialing failed with, in which case nothing was sent; the signal's reason.
 */
export function exchange(options: Exchange): Promise<HttpReply> {
  const { agent, host, port, path, headers, body, timeoutMs, signal } = options;
  signal?.throwIfAborted();
  return new Promise((resolve, reject) => {
    const sent = request({
      agent,
      host,
      port,
      path,
      method: 'POST',
      headers: { ...headers, 'Content-Length': String(body.length) },
    });
    const timer = setTimeout(() => sent.destroy(noAnswer(host, timeoutMs)), timeoutMs);
    const onAbort = () => sent.destroy(signal?.reason as Error);
    let answered = false;
    signal?.addEventListener('abort', onAbort);
    const settle = (then: () => void) => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
      then();
    };
    const fail = (error: Error) => settle(() => reject(failureOf(error, host, signal)));
    sent.once('error', fail);
    // After a reply that switches protocols, Node.js reports no error any more: neither the time limit nor the signal
    // would end the wait.
    sent.once('close', () => {
      if (!answered) fail(protocolError('it ended the connection with a reply that is none'));
    });
    sent.once('response', (reply) => {
      answered = true;
      const { socket } = reply;
      const gathered = new GatheredBytes();
      reply.on('data', (part: Buffer) => {
        if (gathered.length + part.length > options.maxReplyBytes) {
          sent.destroy(protocolError(`its reply is longer than ${options.maxReplyBytes} bytes`));
        } else gathered.add(part);
      });
      reply.once('error', fail);
      reply.once('end', () => {
        const { statusCode = 0, headers: received } = reply;
        settle(() => resolve({ status: statusCode, headers: received, body: gathered.bytes(), socket }));
      });
    });
    sent.end(body);
  });
}

function failureOf(error: Error, host: string, signal: AbortSignal | undefined): unknown {
  if (error instanceof DialFailure) return error.cause;
  if (error instanceof WinrmError || signal?.aborted) return signal?.aborted ? signal.reason : error;
  return new WinrmError({
    kind: 'ambiguous',
    message: `The connection to ${host} was lost before it answered (${(error as NodeJS.ErrnoException).code ?? error.message}).`,
    advice: 'Check on the host what became of the request before you send it again.',
    cause: error,
  });
}

function noAnswer(host: string, timeoutMs: number): WinrmError {
  return new WinrmError({
    kind: 'no_answer',
    message: `${host} did not answer a request within ${timeoutMs / 1000} s.`,
    advice: 'Check whether the host is overloaded or its WinRM service hangs.',
  });
}
