import { execFile, spawnSync } from 'node:child_process';
import { createHash, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { promisify } from 'node:util';
import { expect, onTestFinished, test } from 'vitest';
import { pinOfCertificate } from './certificate-pin.ts';
import { loadOrCreateServerTls, type ServerTls } from './server-tls.ts';

const run = promisify(execFile);
const hasOpenssl = spawnSync('openssl', ['version']).status === 0;
const dayMs = 24 * 60 * 60 * 1000;
const inDays = (days: number) => new Date(Date.now() + days * dayMs);

async function setup() {
  const directory = await mkdtemp(join(tmpdir(), 'server-tls-'));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  return {
    directory,
    path: (name: string) => join(directory, name),
    load: (hostNames: string[] = ['ops.example.com'], now?: Date) =>
      loadOrCreateServerTls({ directory, hostNames, ...(now === undefined ? {} : { now }) }),
  };
}

/** Makes a real handshake. Resolves with the peer's chain, or rejects with the client's objection. */
async function handshake(tls: ServerTls, options: { ca: string; servername?: string; host?: string }) {
  const server = createServer({ cert: tls.certPem, key: tls.keyPem }).listen(0, options.host ?? '127.0.0.1');
  onTestFinished(() => void server.close());
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  const socket = connect({ port: address.port, ...{ host: '127.0.0.1', ...options } });
  try {
    await once(socket, 'secureConnect');
    return socket.getPeerCertificate(true);
  } finally {
    socket.destroy();
  }
}

test('a client that trusts the CA accepts the name, the addresses and localhost, and sees the pinned CA', async () => {
  const t = await setup();
  const tls = await t.load(['Ops.Example.com', '10.1.2.3', '[2001:DB8::1]', 'bücher.example']);

  const peer = await handshake(tls, { ca: tls.caPem, servername: 'ops.example.com' });
  expect(pinOfCertificate(peer.issuerCertificate.raw)).toBe(tls.caPin);
  await handshake(tls, { ca: tls.caPem });
  await handshake(tls, { ca: tls.caPem, servername: 'localhost' });
  await handshake(tls, { ca: tls.caPem, host: '::1' });
  const certificate = new X509Certificate(tls.certPem);
  expect(certificate.checkIP('10.1.2.3')).toBe('10.1.2.3');
  expect(certificate.checkIP('2001:db8::1')).toBe('2001:db8::1');
  expect(certificate.checkHost('xn--bcher-kva.example')).toBeDefined();
});

test('a client that trusts another CA, or asks for another name, refuses', async () => {
  const t = await setup();
  const tls = await t.load();
  const other = await (await setup()).load();

  await expect(handshake(tls, { ca: other.caPem })).rejects.toThrow(/self-signed certificate/);
  await expect(handshake(tls, { ca: tls.caPem, servername: 'evil.example.com' })).rejects.toThrow(/altnames/);
});

test.runIf(hasOpenssl)('openssl verifies the chain and computes the same pin', async () => {
  const t = await setup();
  const tls = await t.load();

  const { stdout } = await run('openssl', [
    ...['verify', '-x509_strict', '-purpose', 'sslserver', '-verify_hostname', 'ops.example.com'],
    ...['-CAfile', t.path('ca.pem'), t.path('server.pem')],
  ]);
  expect(stdout).toContain('OK');
  const key = await run('openssl', ['x509', '-in', t.path('ca.pem'), '-noout', '-pubkey']);
  const der = Buffer.from(key.stdout.replace(/-----[^-]+-----|\s/g, ''), 'base64');
  expect(tls.caPin).toBe(`sha256:${createHash('sha256').update(der).digest('hex')}`);
});

test('a second load returns the same; keys are readable by the owner only', async () => {
  const t = await setup();
  const first = await t.load();
  await chmod(t.path('server.key'), 0o644);
  expect(await t.load()).toEqual(first);
  for (const name of ['ca.key', 'server.key']) {
    expect((await stat(t.path(name))).mode & 0o777).toBe(0o600);
  }
  expect((await readdir(t.directory)).sort()).toEqual(['ca.key', 'ca.pem', 'server.key', 'server.pem']);
});

test('names in another order or spelling change nothing; other names make a new certificate under the same pin', async () => {
  const t = await setup();
  const first = await t.load(['a.example', 'b.example']);
  expect((await t.load(['B.example', 'a.example', 'localhost'])).certPem).toBe(first.certPem);

  const added = await t.load(['a.example', 'b.example', 'c.example']);
  expect(added.certPem).not.toBe(first.certPem);
  expect(added.keyPem).not.toBe(first.keyPem);
  expect(added.caPin).toBe(first.caPin);
  await handshake(added, { ca: first.caPem, servername: 'c.example' });

  const removed = await t.load(['c.example']);
  expect(new X509Certificate(removed.certPem).checkHost('a.example')).toBeUndefined();
});

test('a certificate lasts 397 days at most and is made again 30 days before its end', async () => {
  const t = await setup();
  const first = await t.load();
  const certificate = new X509Certificate(first.certPem);
  const days = (Date.parse(certificate.validTo) + 1000 - Date.parse(certificate.validFrom)) / dayMs;
  expect(days).toBeLessThanOrEqual(397);
  expect((await t.load(undefined, inDays(366))).certPem).toBe(first.certPem);

  const renewed = await t.load(undefined, inDays(368));
  expect(renewed.certPem).not.toBe(first.certPem);
  expect(renewed.caPin).toBe(first.caPin);
});

test("a CA near its end is renewed under the same key, and the old one's holders still trust", async () => {
  const t = await setup();
  const first = await t.load();
  await t.load(undefined, inDays(3300));
  const renewed = await t.load(undefined, new Date());

  expect(renewed.caPem).not.toBe(first.caPem);
  expect(renewed.caPin).toBe(first.caPin);
  await handshake(renewed, { ca: first.caPem });
  await handshake(renewed, { ca: renewed.caPem });
});

test.each([
  ['key', 'server.key'],
  ['certificate', 'server.pem'],
])('a server %s that is damaged or of another pair is made again', async (_, name) => {
  const t = await setup();
  const first = await t.load();
  await writeFile(t.path(name), 'damaged');
  const second = await t.load();
  expect(second.caPin).toBe(first.caPin);
  await handshake(second, { ca: first.caPem });

  const other = await setup();
  await other.load();
  await writeFile(t.path(name), await readFile(other.path(name)));
  await handshake(await t.load(), { ca: first.caPem });
});

test('a CA key that is missing, damaged or of another CA is never replaced silently', async () => {
  const t = await setup();
  await t.load();
  const other = await setup();
  await other.load();

  await writeFile(t.path('ca.key'), await readFile(other.path('ca.key')));
  await expect(t.load()).rejects.toThrow(/ca\.key is not the key of .*ca\.pem\. Restore/);
  await writeFile(t.path('ca.key'), 'damaged');
  await expect(t.load()).rejects.toThrow(/ca\.key is damaged/);
  await rm(t.path('ca.key'));
  await expect(t.load()).rejects.toThrow(/ca\.key is missing/);
});

test('a CA certificate that is missing is made again for the same key', async () => {
  const t = await setup();
  const first = await t.load();
  await rm(t.path('ca.pem'));
  expect((await t.load()).caPin).toBe(first.caPin);
});

test.each([
  'https://ops.example',
  'ops.example:8443',
  '',
  'a b',
  'fe80::1%eth0',
  `${'a'.repeat(64)}.example`,
])('the host name "%s" is refused', async (name) => {
  const t = await setup();
  await expect(t.load([name])).rejects.toThrow(/is not a host name/);
  expect(await readdir(t.directory)).toEqual([]);
});
