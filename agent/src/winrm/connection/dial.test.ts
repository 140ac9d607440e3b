import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer as createTlsServer } from 'node:tls';
import { expect, onTestFinished, test } from 'vitest';
import { type DialOptions, dial } from './dial.ts';

/** A listener that never says anything, and how to dial it. */
async function silentHost(): Promise<{ sockets: Socket[]; accepted: Promise<Socket>; options: DialOptions }> {
  const sockets: Socket[] = [];
  const server = createServer((socket) => sockets.push(socket.on('error', () => undefined)));
  const accepted = once(server, 'connection').then(([socket]) => socket as Socket);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const options = {
    host: '127.0.0.1',
    port: (server.address() as AddressInfo).port,
    tls: undefined,
    connectTimeoutMs: 10_000,
    totalTimeoutMs: 30_000,
    addressesOf: async (name: string) => [name],
    signal: undefined,
  };
  return { sockets, accepted, options };
}

test('a connection that is reset while nobody uses it does no harm', async () => {
  const { accepted, options } = await silentHost();
  const socket = await dial(options);
  const closed = new Promise((resolve) => {
    socket.once('close', resolve);
  });
  (await accepted).resetAndDestroy();
  await closed;
  expect(socket.destroyed).toBe(true);
});

test('an expired certificate is reported as such, and nothing is sent', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'opsconductor-expired-'));
  onTestFinished(() => rmSync(dir, { recursive: true }));
  const [key, cert] = [join(dir, 'key'), join(dir, 'cert')];
  const made = ['-x509', '-nodes', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-keyout', key];
  const times = ['-not_before', '20200101000000Z', '-not_after', '20210101000000Z'];
  const named = ['-out', cert, '-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1'];
  execFileSync('openssl', ['req', ...made, ...named, ...times], { stdio: 'ignore' });
  const pem = readFileSync(cert, 'utf8');
  const server = createTlsServer({ key: readFileSync(key), cert: pem });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  const { port } = server.address() as AddressInfo;
  const { options } = await silentHost();
  await expect(dial({ ...options, port, tls: { ca: [pem] } })).rejects.toMatchObject({
    kind: 'certificate',
    message: expect.stringContaining('expired'),
    notExecuted: true,
  });
});

test('dialing ends when it is no longer wanted', async () => {
  const { accepted, options } = await silentHost();
  const stop = new AbortController();
  const dialling = dial({ ...options, tls: {}, signal: stop.signal });
  await accepted;
  stop.abort(new Error('stopped'));
  await expect(dialling).rejects.toThrow('stopped');
});

test('many addresses do not make dialing take longer than the total limit', async () => {
  const { sockets, options } = await silentHost();
  const addressesOf = async () => Array.from({ length: 20 }, () => '127.0.0.1');
  const dialling = dial({ ...options, tls: {}, connectTimeoutMs: 20, totalTimeoutMs: 1, addressesOf });
  await expect(dialling).rejects.toMatchObject({ kind: 'connect_timed_out', notExecuted: true });
  expect(sockets.length).toBeLessThan(5);
});
