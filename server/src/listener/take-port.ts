// Taking a port, and saying what to do if it can't be taken.
import { once } from 'node:events';
import { createServer, type Server } from 'node:net';

/** All agents of many sites may come back at the same moment; the system queues them until the server gets to them. */
const backlog = 4_096;

export interface ListenAddress {
  address: string;
  /** 0 takes any free port. */
  port: number;
}

/** @throws {ListenError} */
export async function takePort(server: Server, at: ListenAddress): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host: at.address, port: at.port, backlog }, () => {
      server.off('error', reject);
      resolve();
    });
  }).catch((error: NodeJS.ErrnoException) => {
    throw new ListenError(at, error);
  });
}

/**
 * Takes the port and frees it again, so that a start that can't succeed ends before it has begun anything. The port may
 * still become busy afterwards.
 *
 * @throws {ListenError}
 */
export async function tryPort(at: ListenAddress): Promise<void> {
  const server = createServer((socket) => socket.destroy());
  await takePort(server, at);
  const closed = once(server, 'close');
  server.close();
  await closed;
}

/** The port can't be taken. The message says which one and what to do. */
class ListenError extends Error {
  constructor({ address, port }: ListenAddress, cause: NodeJS.ErrnoException) {
    const advice: Record<string, string> = {
      EADDRINUSE:
        'another program listens there. Stop it, or choose a port with --port (0 takes any free one).',
      EACCES: 'this user may not listen there. Choose a port from 1024 on with --port.',
      EADDRNOTAVAIL: 'this machine has no such address. Choose one of its own with --listen.',
    };
    super(`Can’t listen on ${address}, port ${port}: ${advice[cause.code ?? ''] ?? cause.message}`, {
      cause,
    });
    this.name = 'ListenError';
  }
}
