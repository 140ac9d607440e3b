import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { expect, onTestFinished, test } from 'vitest';
import { setupSshd, sshTest } from '../sshd-setup.ts';
import { failedScan, scanHost } from './scan-host.ts';

const signal = () => AbortSignal.timeout(10_000);

/** Opens a port that sends a line, or nothing. */
async function listen(greeting: string): Promise<{ id: number; host: string; port: number }> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket.on('error', () => {}));
    if (greeting !== '') socket.write(greeting);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { id: 7, host: '127.0.0.1', port: (server.address() as AddressInfo).port };
}

sshTest('a scan reads the host keys of all types that the host has, without logging in', async () => {
  const t = await setupSshd({ hostKeys: ['rsa', 'ecdsa', 'ed25519'] });
  const { host, port } = t.target;
  const scanned = await scanHost({ id: 1, host, port }, { kind: 'keys', signal: signal() });
  const plain = t.sshd.hostKeyLines.map((line) => line.split(' ').slice(0, 2).join(' '));
  expect(scanned.keys.toSorted()).toEqual(plain.toSorted());
  expect(scanned.serverVersion).toMatch(/^SSH-2\.0-OpenSSH/);
  expect(scanned.latencyMs).toBeGreaterThanOrEqual(0);
  expect(t.sshd.log()).not.toMatch(/Failed|Accepted|Invalid user/);
});

sshTest('a probe reports that an SSH server answers, and how soon', async () => {
  const t = await setupSshd();
  const { host, port } = t.target;
  const probed = await scanHost({ id: 1, host, port }, { kind: 'reach', signal: signal() });
  expect(probed).toMatchObject({ ok: true, keys: [], serverVersion: expect.stringMatching(/^SSH-2\.0-/) });
});

test('something that answers but is not an SSH server is reported as such', async () => {
  const target = await listen('220 mail.example ESMTP\r\n');
  const refusal = await scanHost(target, { kind: 'reach', signal: signal() }).catch((error) =>
    failedScan(7, error, 1_000),
  );
  expect(refusal).toMatchObject({ targetId: 7, ok: false, reason: 'unreachable' });
  expect(refusal.message).toContain('did not answer as an SSH server');
});

/** A connection to a host that says this, piece by piece. */
function saying(...pieces: string[]): () => Promise<Duplex> {
  const stream = new Duplex({ read: () => {}, write: (_bytes, _encoding, done) => done() });
  for (const piece of pieces) stream.push(piece);
  return () => Promise.resolve(stream);
}

test('a host that sends its greeting in pieces is reached, one that never ends it is not listened to for ever', async () => {
  const target = { id: 7, host: 'slow.example', port: 22 };
  const reach = (connect: () => Promise<Duplex>) =>
    scanHost(target, { kind: 'reach', signal: signal(), connect });
  expect(await reach(saying('Be welcome\r\nS', 'SH-2.0-', 'Slow_1', '\r\nmore'))).toMatchObject({
    ok: true,
    serverVersion: 'SSH-2.0-Slow_1',
  });
  const endless = Array.from({ length: 100 }, () => '\u001b'.repeat(100));
  const { serverVersion } = await reach(saying('SSH-2.0-', ...endless));
  expect(serverVersion).toBe('SSH-2.0-');
  await expect(reach(saying('SMTP\n', 'no more'))).rejects.toThrow('did not answer as an SSH server');
});

test('a host that hangs up without a word is reported at once, whatever is scanned', async () => {
  const hangsUp = createServer((socket) => void socket.end()).listen(0, '127.0.0.1');
  await once(hangsUp, 'listening');
  onTestFinished(() => void hangsUp.close());
  const target = { id: 7, host: '127.0.0.1', port: (hangsUp.address() as AddressInfo).port };
  for (const kind of ['reach', 'keys'] as const) {
    const refusal = await scanHost(target, { kind, signal: signal() }).catch((error) =>
      failedScan(7, error, 1_000),
    );
    expect(refusal).toMatchObject({ ok: false, reason: 'unreachable' });
    expect(refusal.message).toContain('did not answer as an SSH server');
  }
});

test('a host that says nothing is given up on in time, with a reason', async () => {
  const target = await listen('');
  for (const kind of ['reach', 'keys'] as const) {
    const refusal = await scanHost(target, { kind, signal: AbortSignal.timeout(100) }).catch((error) =>
      failedScan(7, error, 100),
    );
    expect(refusal).toMatchObject({ ok: false, reason: 'connect_timed_out' });
  }
});
