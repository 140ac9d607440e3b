// Clients whose request is malformed or takes too long: each is told so, and its connection is ended. Node finds all
// that take too long at once, maybe thousands, and would end them before anyone else had a turn.
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { refuseOn } from './refusals.ts';

const endsInATurn = 8;
/** The statuses that Node itself would answer with; other faults are answered 400. */
const statusOf: Record<string, 408 | 413 | 431> = {
  ERR_HTTP_REQUEST_TIMEOUT: 408,
  HPE_CHUNK_EXTENSIONS_OVERFLOW: 413,
  HPE_HEADER_OVERFLOW: 431,
};

/** The requests on one connection. */
export interface Asked {
  /** The answer whose turn it is. */
  underWay: ServerResponse;
  /** The answer to the last request. */
  last: ServerResponse;
}

/** A connection that will be ended, unless what it is waiting for arrives before its turn. */
interface Late {
  error: Error;
  /** The request that takes too long, once its headers are there. */
  request: IncomingMessage | undefined;
}

/** `asked` returns the requests on a connection, as long as they are not all answered. */
export function endFaultyClients(server: Server, asked: (socket: Socket) => Asked | undefined): void {
  const late = new Map<Socket, Late>();
  const end = (socket: Socket, error: NodeJS.ErrnoException) => {
    // In the middle of an answer, the message would be taken for a part of it.
    if (socket.writable && asked(socket)?.underWay.headersSent !== true) tell(socket, error);
    socket.destroy(error);
  };
  const endSome = () => {
    let ended = 0;
    for (const [socket, { error, request }] of late) {
      if (ended === endsInATurn) break;
      late.delete(socket);
      // It has been completed. Node checks the connection again when its next request begins.
      if (request?.complete === true) continue;
      end(socket, error);
      ended += 1;
    }
    if (late.size > 0) setImmediate(endSome);
  };
  server.on('request', (request) => {
    const found = late.get(request.socket);
    if (found === undefined) return;
    // A second request begins once the first is complete.
    if (found.request !== undefined) late.delete(request.socket);
    found.request = request;
  });
  let watchesUpgrades = false;
  // If ours were the only listener, Node would leave clients that ask for another protocol without an answer.
  server.on('newListener', (event) => {
    if (event !== 'upgrade' || watchesUpgrades) return;
    watchesUpgrades = true;
    // From now on the connection does not carry HTTP, so an HTTP answer would be wrong.
    server.on('upgrade', ({ socket }) => late.delete(socket));
  });
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Socket) => {
    if (error.code !== 'ERR_HTTP_REQUEST_TIMEOUT') {
      end(socket, error);
      return;
    }
    const last = asked(socket)?.last.req;
    if (late.size === 0) setImmediate(endSome);
    late.set(socket, { error, request: last?.complete === true ? undefined : last });
  });
}

/** Writes nothing if the fault is below HTTP, for example in TLS: the client could not understand it. */
function tell(socket: Socket, { code = '' }: NodeJS.ErrnoException): void {
  if (!(code in statusOf) && !code.startsWith('HPE_')) return;
  refuseOn(socket, statusOf[code] ?? 400);
}
