// Clients whose request is none, or takes too long: each is told so, and its connection ended. Node finds all at once that took
// too long, thousands maybe, and would end them before anybody else had a turn.
import { type Server, type ServerResponse, STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';

const endsInATurn = 8;
/** As Node answers by itself; other faults of a request are 400. */
const statusOf: Record<string, number> = {
  ERR_HTTP_REQUEST_TIMEOUT: 408,
  HPE_CHUNK_EXTENSIONS_OVERFLOW: 413,
  HPE_HEADER_OVERFLOW: 431,
};

/** `underWay`: what a connection is being answered. */
export function endFaultyClients(
  server: Server,
  underWay: (socket: Socket) => ServerResponse | undefined,
): void {
  const late: { socket: Socket; error: Error }[] = [];
  const end = (socket: Socket, error: NodeJS.ErrnoException) => {
    // In the middle of an answer it would be taken for a part of it.
    if (socket.writable && underWay(socket)?.headersSent !== true) tell(socket, error);
    socket.destroy(error);
  };
  const endSome = () => {
    for (const { socket, error } of late.splice(0, endsInATurn)) end(socket, error);
    if (late.length > 0) setImmediate(endSome);
  };
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Socket) => {
    if (error.code !== 'ERR_HTTP_REQUEST_TIMEOUT') end(socket, error);
    else if (late.push({ socket, error }) === 1) setImmediate(endSome);
  });
}

/** Nothing where it broke below HTTP, as TLS may: nobody is left who would understand it. */
function tell(socket: Socket, { code = '' }: NodeJS.ErrnoException): void {
  if (!(code in statusOf) && !code.startsWith('HPE_')) return;
  const status = statusOf[code] ?? 400;
  socket.write(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nConnection: close\r\n\r\n`);
}
