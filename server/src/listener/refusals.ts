// Answers to requests that never get to the API because of what HTTP itself requires, in the form of its errors.
import { randomBytes } from 'node:crypto';
import { type ServerResponse, STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import type { ErrorBody, ErrorCode } from '@opsconductor/protocol';

type Status = 400 | 408 | 413 | 417 | 431;

const refusals: Record<Status, { code: ErrorCode; message: string }> = {
  400: { code: 'invalid', message: 'The request is not valid HTTP.' },
  408: { code: 'unavailable', message: 'The request took too long to arrive.' },
  413: { code: 'too_large', message: 'The extensions of the request’s chunks are too long.' },
  417: {
    code: 'invalid',
    message: 'The header Expect asks for what this server does not do: leave it out, or send 100-continue.',
  },
  431: {
    code: 'too_large',
    message: 'The headers of the request are too long: send less than 16 KB of them.',
  },
};

/** Returns the answer with this status, with its usual message or another. */
export function refusalOf(
  status: Status,
  message = refusals[status].message,
): { body: string; headers: Record<string, string> } {
  const { code } = refusals[status];
  const requestId = randomBytes(9).toString('base64url');
  const body: ErrorBody = { error: { code, message, requestId } };
  const text = JSON.stringify(body);
  return {
    body: text,
    headers: {
      'Content-Type': 'application/json',
      'Content-Length': String(Buffer.byteLength(text)),
      'X-Request-Id': requestId,
    },
  };
}

/** Refuses a request that Node has parsed. */
export function refuse(response: ServerResponse, status: Status): void {
  const { body, headers } = refusalOf(status);
  response.writeHead(status, headers).end(body);
}

/** Refuses one that Node could not parse or did not wait for. The connection has to be ended then. */
export function refuseOn(socket: Socket, status: Status): void {
  const { body, headers } = refusalOf(status);
  const lines = Object.entries({ ...headers, Connection: 'close' }).map(
    ([name, value]) => `${name}: ${value}`,
  );
  socket.write(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${lines.join('\r\n')}\r\n\r\n${body}`);
}
