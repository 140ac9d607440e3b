import { once } from 'node:events';
import { createServer as createHttp } from 'node:http';
import { createServer as createHttps } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { networkInterfaces } from 'node:os';
import { expect, onTestFinished, test } from 'vitest';
import { requestJson } from '../enrollment/request-json.ts';
import { presentedRoot } from '../enrollment/server-certificate.ts';
import { explainReachError } from '../explain-error.ts';
import { makeCertificates } from '../testing/certificates.ts';
import { temporaryDirectory } from '../testing/enrolled-directory.ts';
import { socketOpener, wasAnswered } from './open-socket.ts';

const server = 'https://ops.example.com:7700';

/** A proxy that answers every CONNECT with `status`; with TLS if it gets a certificate. */
async function startProxy(status: number, tls?: { key: string; cert: string }, address = '127.0.0.1') {
  const proxy = tls === undefined ? createHttp() : createHttps(tls);
  const sockets = new Set<Socket>();
  proxy.on('connection', (socket: Socket) => sockets.add(socket));
  proxy.on('connect', (_, socket: Socket) => {
    socket.end(`HTTP/1.1 ${status} No\r\nContent-Length: 0\r\n\r\n`);
  });
  await once(proxy.listen(0, address), 'listening');
  onTestFinished(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((done) => proxy.close(done));
  });
  const { port } = proxy.address() as AddressInfo;
  return `${address.includes(':') ? `[${address}]` : address}:${port}`;
}

/** The errors of all three ways in which an agent uses a proxy, as a person is told them. */
async function tellAll(httpsProxy: string) {
  const proxy = { httpsProxy, noProxy: undefined };
  const refused = async (work: Promise<unknown>) => {
    const error = await work.then(
      () => expect.unreachable(),
      (reason: unknown) => reason as Error,
    );
    const { message, fix } = explainReachError(error, server, proxy);
    return { error, told: `${message} ${fix}` };
  };
  return {
    look: await refused(presentedRoot(new URL(server), proxy)),
    request: await refused(requestJson({ server, ca: undefined, proxy }, '/healthz')),
    webSocket: await refused(once(socketOpener({ server, ca: undefined, proxy })(), 'open')),
  };
}

test('a proxy may be named by its IPv6 address', async (context) => {
  const all = Object.values(networkInterfaces()).flat();
  context.skip(!all.some((each) => each?.address === '::1'), 'this machine has no IPv6');
  const at = await startProxy(407, undefined, '::1');
  const { look, request, webSocket } = await tellAll(`http://${at}`);
  for (const { told } of [look, request, webSocket]) expect(told).toContain(`The proxy ${at} refused`);
});

test.each([
  [407, '', 'Give the user and password of the proxy in HTTPS_PROXY', true],
  [407, 'me:hush@', 'Check the user and password in HTTPS_PROXY', true],
  [401, 'me:hush@', 'Check the user and password in HTTPS_PROXY', true],
  [403, '', 'Allow that destination on the proxy', true],
  [502, '', 'The proxy does not reach the server', false],
])(
  'what a proxy answers (%i, given “%s”) is not taken for the server’s',
  async (status, given, fix, answered) => {
    const at = await startProxy(status);
    const { look, request, webSocket } = await tellAll(`http://${given}${at}`);
    for (const { told } of [look, request, webSocket]) {
      expect(told).toContain(
        `The proxy ${at} refused a connection to ops.example.com:7700 (HTTP ${status}). ${fix}`,
      );
      expect(told).not.toContain('hush');
    }
    expect(wasAnswered({ opened: false, error: webSocket.error })).toBe(answered);
  },
);

test('a certificate of the proxy that is not trusted is not taken for the server’s', async () => {
  const { path, remove } = await temporaryDirectory();
  onTestFinished(remove);
  const { key, chain } = await makeCertificates(path, 'IP:127.0.0.1');
  const at = await startProxy(200, { key, cert: chain });
  for (const { told } of Object.values(await tellAll(`https://${at}`))) {
    expect(told).toMatch(`The certificate of the proxy ${at} is not accepted here: self-signed certificate`);
    expect(told).toContain('NODE_EXTRA_CA_CERTS');
  }
});

test('a proxy without TLS whose address begins with https: is told apart from a server without TLS', async () => {
  const at = await startProxy(200);
  for (const { told } of Object.values(await tellAll(`https://${at}`)))
    expect(told).toContain(`The proxy ${at} does not speak TLS. Its address in HTTPS_PROXY`);
});
