// A relay between a client and a server on loopback, for tests in which what the server sends comes late or changed.
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';

/**
 * Relays to a port until the test ends.
 *
 * @param onReply gets what the server sends, and passes on to the client what it wants
 * @returns the port of the relay
 */
export async function relayTo(
  port: number,
  onReply: (bytes: Buffer, client: Socket) => void,
): Promise<number> {
  const server = createServer((client) => {
    const far = connect(port, '127.0.0.1');
    for (const socket of [client, far])
      socket.on('error', () => {}).on('close', () => void [client, far].map((end) => end.destroy()));
    client.pipe(far);
    far.on('data', (bytes) => onReply(bytes, client));
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  onTestFinished(() => void server.close());
  return (server.address() as AddressInfo).port;
}
