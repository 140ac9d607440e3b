// A listener that asks for the client's certificate after it has read a request, as Windows does: by renegotiation,
// which TLS 1.3 does not have. It is written in Node, since Python can't do it.
import { constants } from 'node:crypto';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { createServer, type TLSSocket, type TlsOptions } from 'node:tls';
import { expect, onTestFinished } from 'vitest';
import { namespaces } from '../messages/namespaces.ts';
import { identifyMessage } from '../messages/soap.ts';
import { connectionTo, errorOf, hostOfFile, winrmTest } from '../testing/winrm-setup.ts';

const host = hostOfFile();
const identified = `<s:Envelope xmlns:s="${namespaces.soap}"><s:Body/></s:Envelope>`;

interface Listener {
  port: number;
  /** How each request arrived. */
  asked: { protocol: string | null; inHandshake: boolean; shown: boolean }[];
}

async function listenerLikeWindows(more: TlsOptions = {}): Promise<Listener> {
  const { certificate: cert, privateKey: key } = host.fixture.certificate('sha256');
  const asked: Listener['asked'] = [];
  const ca = host.fixture.certificate('client').certificate;
  // With a resumed session it would not ask for anything.
  const secureOptions = constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_SESSION_RESUMPTION_ON_RENEGOTIATION;
  const server = createServer({ cert, key, ca, secureOptions, ...more });
  const sockets = new Set<TLSSocket>();
  server.on('secureConnection', (socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    let isAsked = false;
    socket.on('data', () => {
      if (isAsked) return;
      isAsked = true;
      const protocol = socket.getProtocol();
      const inHandshake = socket.authorized;
      if (protocol === 'TLSv1.3') {
        asked.push({ protocol, inHandshake, shown: false });
        return socket.destroy();
      }
      socket.renegotiate({ requestCert: true, rejectUnauthorized: false }, () => {
        asked.push({ protocol, inHandshake, shown: socket.authorized });
        if (!socket.authorized) return socket.destroy();
        const type = 'Content-Type: application/soap+xml;charset=UTF-8';
        socket.write(
          `HTTP/1.1 200 OK\r\n${type}\r\nContent-Length: ${identified.length}\r\n\r\n${identified}`,
        );
      });
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, asked };
}

function connectionWith(name: 'client' | 'sha384', port: number) {
  const login = { method: 'certificate', ...host.fixture.certificate(name) } as const;
  return connectionTo(host.fixture, 'https', { login, port });
}

winrmTest.for([
  ['a small request', 0],
  ['a request that is still under way', 140_000],
] as const)(
  'a certificate that the host requests after the header of %s is sent, with TLS 1.2',
  async ([, bytes]) => {
    const { port, asked } = await listenerLikeWindows();
    const connection = connectionWith('client', port);
    expect(await connection.request(`${identifyMessage()}${' '.repeat(bytes)}`)).toBe(identified);
    expect(asked).toEqual([{ protocol: 'TLSv1.2', inHandshake: false, shown: true }]);
  },
);

winrmTest(
  'a host that breaks the connection instead of accepting a certificate is reported, with what to check',
  async () => {
    const { port } = await listenerLikeWindows();
    const error = await errorOf(connectionWith('sha384', port).request(identifyMessage()));
    expect(error).toMatchObject({ kind: 'ambiguous', notExecuted: false });
    expect(error.advice).toMatch(/service\/auth.*mapped to a user/);
  },
);

winrmTest('a host with only TLS 1.3 accepts no certificates, and the error says so', async () => {
  const { port } = await listenerLikeWindows({ minVersion: 'TLSv1.3' });
  const error = await errorOf(connectionWith('client', port).request(identifyMessage()));
  expect(error).toMatchObject({ kind: 'auth_unavailable', notExecuted: true });
  expect(error.advice).toContain('TLS 1.2');
});
