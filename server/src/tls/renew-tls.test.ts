import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { expect, onTestFinished, test, vi } from 'vitest';
import { createLog } from '../log.ts';
import { loadGivenTls } from './given-tls.ts';
import { renewTls } from './renew-tls.ts';
import { loadOrCreateServerTls } from './server-tls.ts';

const dayMs = 24 * 60 * 60 * 1_000;

/** A server on certificate files that a test can replace. */
async function setup({
  nowMs,
  publicHost,
}: {
  nowMs?: (validTo: number) => number;
  publicHost?: string;
} = {}) {
  const directory = await mkdtemp(join(tmpdir(), 'renew-tls-'));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  const make = (name: string, ...more: string[]) =>
    loadOrCreateServerTls({ directory: join(directory, name), hostNames: ['localhost', ...more] });
  const [first, second] = [await make('first'), await make('second')];
  const files = { certFile: join(directory, 'tls.crt'), keyFile: join(directory, 'tls.key') };
  const write = async (tls: { certPem: string; keyPem: string }) => {
    await writeFile(files.certFile, tls.certPem);
    await writeFile(files.keyFile, tls.keyPem);
  };
  await write(first);
  const server = createServer({ cert: first.certPem, key: first.keyPem });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const log = createLog({ level: 'silent', plain: false });
  const errors = vi.spyOn(log, 'error');
  const warnings = vi.spyOn(log, 'warn');
  const expiries: string[] = [];
  const pins: string[] = [];
  const validTo = Date.parse(new X509Certificate(first.certPem).validTo);
  const load = vi.fn(() => loadGivenTls(files));
  const stop = renewTls({
    server,
    current: first,
    load,
    log,
    intervalMs: 3_600_000,
    publicHost,
    onReplaced: (pin) => pins.push(pin),
    onExpiry: (date) => expiries.push(date.toISOString()),
    ...(nowMs === undefined ? {} : { nowMs: () => nowMs(validTo) }),
  });
  onTestFinished(async () => {
    await stop();
    server.close();
  });
  // It looks at once: files that were written meanwhile would be read half.
  await vi.waitFor(() => expect(load.mock.settledResults).toHaveLength(1), { timeout: 10_000 });
  return {
    first,
    second,
    files,
    write,
    errors,
    warnings,
    expiries,
    pins,
    /** Another certificate of the second one's CA. */
    renewSecond: () => make('second', 'ops.example.com'),
    /** Returns the issuer that a new connection is shown. */
    async issuer() {
      const socket = connect({
        port: (server.address() as AddressInfo).port,
        host: '127.0.0.1',
        rejectUnauthorized: false,
      });
      await once(socket, 'secureConnect');
      const { fingerprint256 } = socket.getPeerCertificate();
      socket.destroy();
      return fingerprint256;
    },
    /** Sends what `systemctl reload` sends. Resolves when the files were read. */
    async reload() {
      const before = load.mock.results.length;
      process.kill(process.pid, 'SIGHUP');
      await vi.waitFor(() => expect(load.mock.settledResults.length).toBeGreaterThan(before), {
        timeout: 10_000,
      });
    },
  };
}

test('new certificate files are used after SIGHUP, without a restart', async () => {
  const t = await setup();
  const before = await t.issuer();
  await t.write(t.second);
  await t.reload();
  await vi.waitFor(async () => expect(await t.issuer()).not.toBe(before), { timeout: 10_000 });
});

test('metrics are told when the certificate in use expires, also after a new one', async () => {
  const t = await setup();
  const expiryOf = ({ certPem }: { certPem: string }) =>
    new Date(new X509Certificate(certPem).validTo).toISOString();
  await vi.waitFor(() => expect(t.expiries).toEqual([expiryOf(t.first)]), { timeout: 10_000 });
  await t.write(t.second);
  await t.reload();
  await vi.waitFor(() => expect(t.expiries).toEqual([expiryOf(t.first), expiryOf(t.second)]), {
    timeout: 10_000,
  });
});

test('a certificate of another CA is warned of, with both pins, and used for tokens; one of the same CA is not', async () => {
  const t = await setup();
  await t.write(t.second);
  await t.reload();
  await vi.waitFor(() => expect(t.pins).toEqual([t.second.caPin]), { timeout: 10_000 });
  expect(t.warnings.mock.calls).toEqual([
    [
      { caPin: t.second.caPin, formerCaPin: t.first.caPin },
      expect.stringMatching(/from another CA; agents .* use-server/),
    ],
  ]);
  const renewed = await t.renewSecond();
  await t.write(renewed);
  await t.reload();
  await vi.waitFor(() => expect(t.pins).toEqual([t.second.caPin, t.second.caPin]), { timeout: 10_000 });
  expect(t.warnings).toHaveBeenCalledOnce();
  // Agents that have pinned the root need not be sent it.
  const alone = renewed.certPem.replace(t.second.caPem, '');
  expect(alone).not.toBe(renewed.certPem);
  await t.write({ ...renewed, certPem: alone });
  await t.reload();
  await vi.waitFor(() => expect(t.pins).toHaveLength(3), { timeout: 10_000 });
  expect(t.warnings).toHaveBeenCalledOnce();
  // Nobody can have pinned the root of one that came without.
  await t.write(t.first);
  await t.reload();
  await vi.waitFor(() => expect(t.pins).toHaveLength(4), { timeout: 10_000 });
  expect(t.warnings).toHaveBeenCalledOnce();
});

test('files that do not belong together leave the old certificate in use, and are reported once', async () => {
  const t = await setup();
  const before = await t.issuer();
  await writeFile(t.files.certFile, t.second.certPem);
  await t.reload();
  await t.reload();
  expect(await t.issuer()).toBe(before);
  expect(t.errors).toHaveBeenCalledOnce();
  await t.write(t.second);
  await t.reload();
  await vi.waitFor(async () => expect(await t.issuer()).not.toBe(before), { timeout: 10_000 });
});

test('a certificate that expires soon is warned of once a day, and one that has expired is an error', async () => {
  let leftMs = 15 * dayMs;
  const t = await setup({ nowMs: (validTo) => validTo - leftMs });
  await t.reload();
  expect(t.warnings).not.toHaveBeenCalled();
  for (const left of [13.5, 13.4, 12.5]) {
    leftMs = left * dayMs;
    await t.reload();
  }
  await vi.waitFor(() => expect(t.warnings).toHaveBeenCalledTimes(2), { timeout: 10_000 });
  expect(t.warnings).toHaveBeenLastCalledWith(expect.anything(), expect.stringMatching(/expires soon/));
  leftMs = -1_000;
  await t.reload();
  await vi.waitFor(() => expect(t.errors).toHaveBeenCalledOnce(), { timeout: 10_000 });
  expect(t.errors).toHaveBeenCalledWith(expect.anything(), expect.stringMatching(/has expired/));
});

test('a certificate that is not for the host of the public URL is warned of once', async () => {
  const t = await setup({ publicHost: 'ops.example.com' });
  await t.reload();
  await t.reload();
  expect(t.warnings.mock.calls).toEqual([
    [
      { host: 'ops.example.com', names: expect.stringContaining('DNS:localhost') },
      expect.stringContaining('not for the host of --public-url'),
    ],
  ]);
});

test.each(['localhost', '127.0.0.1', '[::1]'])(
  'a certificate for %s is not warned of',
  async (publicHost) => {
    const t = await setup({ publicHost });
    await t.reload();
    expect(t.warnings).not.toHaveBeenCalled();
  },
);
