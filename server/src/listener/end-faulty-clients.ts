// Clients whose request is none, or takes too long: each is told so, and its connection ended. Node finds all at once that took
// too long, thousands maybe, and would end them before anybody else had a turn.
import { type IncomingMessage, type Server, type ServerResponse, STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';

const endsInATurn = 8;
/** As Node answers by itself; other faults of a request are 400. */
const statusOf: Record<string, number> = {
  ERR_HTTP_REQUEST_TIMEOUT: 408,
  HPE_CHUNK_EXTENSIONS_OVERFLOW: 413,
  HPE_HEADER_OVERFLOW: 431,
};

/** What is asked on one connection. */
export interface Asked {
  /** Whose turn it is. */
  underWay: ServerResponse;
  /** The answer to what was asked last. */
  last: ServerResponse;
}

/** A connection that is to be ended, where nothing comes of what it waits for meanwhile. */
interface Late {
  error: Error;
  /** The one that takes too long, once its headers are there. */
  request: IncomingMessage | undefined;
}

/** `asked`: what was asked on a connection, as long as it is not all answered. */
export function endFaultyClients(server: Server, asked: (socket: Socket) => Asked | undefined): void {
  const late = new Map<Socket, Late>();
  const end = (socket: Socket, error: NodeJS.ErrnoException) => {
    // In the middle of an answer it would be taken for a part of it.
    if (socket.writable && asked(socket)?.underWay.headersSent !== true) tell(socket, error);
    socket.destroy(error);
  };
  const endSome = () => {
    let ended = 0;
    for (const [socket, { error, request }] of late) {
      if (ended === endsInATurn) break;
      late.delete(socket);
      // Node looks at it again when its next request begins.
      if (request?.complete === true) continue;
      end(socket, error);
      ended += 1;
    }
    if (late.size > 0) setImmediate(endSome);
  };
  server.on('request', (request) => {
    const found = late.get(request.socket);
    if (found === undefined) return;
    // A second one begins when the first is complete.
    if (found.request !== undefined) late.delete(request.socket);
    found.request = request;
  });
  let watchesUpgrades = false;
  // With a listener of ours alone Node would leave those who ask for another protocol without an answer.
  server.on('newListener', (event) => {
    if (event !== 'upgrade' || watchesUpgrades) return;
    watchesUpgrades = true;
    // What it says from now on is not HTTP, and neither would be the answer.
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

/** Nothing where it broke below HTTP, as TLS may: nobody is left who would understand it. */
function tell(socket: Socket, { code = '' }: NodeJS.ErrnoException): void {
  if (!(code in statusOf) && !code.startsWith('HPE_')) return;
  const status = statusOf[code] ?? 400;
  socket.write(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nConnection: close\r\n\r\n`);
}
