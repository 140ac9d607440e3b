import { spawnSync } from 'node:child_process';
import { createPrivateKey } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSecureContext } from 'node:tls';
import { expect, onTestFinished, test } from 'vitest';
import { pinOfCertificate } from './certificate-pin.ts';
import { loadGivenTls } from './given-tls.ts';
import { loadOrCreateServerTls } from './server-tls.ts';

const hasOpenssl = spawnSync('openssl', ['version']).status === 0;

async function setup() {
  const directory = await mkdtemp(join(tmpdir(), 'given-tls-'));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  const made = await loadOrCreateServerTls({ directory, hostNames: ['ops.example.com'] });
  const certFile = join(directory, 'given.pem');
  const keyFile = join(directory, 'given.key');
  await writeFile(certFile, made.certPem);
  await writeFile(keyFile, made.keyPem);
  const leafPem = made.certPem.slice(0, made.certPem.length - made.caPem.length);
  return {
    made,
    leafPem,
    directory,
    certFile,
    keyFile,
    load: (now?: Date) => loadGivenTls({ certFile, keyFile, ...(now === undefined ? {} : { now }) }),
  };
}

test('a chain with its root is taken as it is, and the root is pinned', async () => {
  const t = await setup();
  const given = await t.load();
  expect(given).toMatchObject({ certPem: t.made.certPem, keyPem: t.made.keyPem, caPin: t.made.caPin });
  createSecureContext({ cert: given.certPem, key: given.keyPem, ca: given.caPem });
});

test('without its issuers the topmost certificate that is there is pinned', async () => {
  const t = await setup();
  await writeFile(t.certFile, t.leafPem);
  expect((await t.load()).caPin).toBe(pinOfCertificate(t.leafPem));
});

test('text around the certificates is ignored', async () => {
  const t = await setup();
  await writeFile(t.certFile, `Subject: CN=x\n${t.leafPem}\nIssuer: -\n${t.made.caPem}`);
  expect((await t.load()).caPin).toBe(t.made.caPin);
});

test("another certificate's key is refused, naming both files", async () => {
  const t = await setup();
  const other = await setup();
  await writeFile(t.keyFile, other.made.keyPem);
  await expect(t.load()).rejects.toThrow(
    `${t.keyFile} is not the key of the first certificate in ${t.certFile}`,
  );
});

test('a chain in the wrong order is refused with the right one', async () => {
  const t = await setup();
  await writeFile(t.certFile, t.made.caPem + t.leafPem);
  await expect(t.load()).rejects.toThrow(/It is the key of certificate 2: put that one first/);
});

test('an issuer that did not issue is refused', async () => {
  const t = await setup();
  const other = await setup();
  await writeFile(t.certFile, t.leafPem + other.made.caPem);
  await expect(t.load()).rejects.toThrow(/certificate 2 .* did not issue certificate 1/);
});

test('a certificate that expired or is not valid yet is refused with the date', async () => {
  const t = await setup();
  await expect(t.load(new Date(Date.now() + 398 * 86_400_000))).rejects.toThrow(/given\.pem .* expired on/);
  await expect(t.load(new Date(Date.now() - 86_400_000))).rejects.toThrow(
    /given\.pem .* is not valid before/,
  );
});

test('the certificate of an authority is refused', async () => {
  const t = await setup();
  const caKey = await readFile(join(t.directory, 'ca.key'), 'utf8');
  await writeFile(t.certFile, t.made.caPem);
  await writeFile(t.keyFile, caKey);
  await expect(t.load()).rejects.toThrow(
    /is a certificate authority's\. Give one that it has signed, or one that is self-signed with CA:FALSE/,
  );
});

test.runIf(hasOpenssl)('a certificate that is meant for clients only is refused', async () => {
  const t = await setup();
  spawnSync('openssl', [
    ...[
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      '-subj',
      '/CN=client',
    ],
    ...['-addext', 'basicConstraints=critical,CA:FALSE', '-addext', 'extendedKeyUsage=clientAuth'],
    ...['-keyout', t.keyFile, '-out', t.certFile],
  ]);
  await expect(t.load()).rejects.toThrow(/CN=client.* is not meant for servers/);
});

test.each([
  ['certFile', 'no PEM', /given\.pem holds no certificate/],
  ['keyFile', 'no PEM', /given\.key holds no private key/],
  [
    'certFile',
    '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n',
    /Certificate 1 in .*given\.pem is damaged/,
  ],
] as const)('a %s with %j is refused, naming it', async (file, content, message) => {
  const t = await setup();
  await writeFile(t[file], content);
  await expect(t.load()).rejects.toThrow(message);
});

test('a file that is missing, and a key with a passphrase, are named', async () => {
  const t = await setup();
  const key = createPrivateKey(t.made.keyPem);
  const encrypted = key.export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'x' });
  await writeFile(t.keyFile, encrypted);
  await expect(t.load()).rejects.toThrow(/given\.key has a passphrase/);
  await rm(t.certFile);
  await expect(t.load()).rejects.toThrow(/given\.pem can't be read/);
});
