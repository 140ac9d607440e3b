// Connections through jump hosts, on real sshds: which errors are distinguished, and what is shared.
import { createServer } from 'node:net';
import { text } from 'node:stream/consumers';
import { expect, onTestFinished, test } from 'vitest';
import type { JumpHost } from '../steps/step-type.ts';
import { forwardError, jumpHostFailed } from './jump-hosts.ts';
import { SshError } from './ssh-error.ts';
import { refusalOf, type SshSetup, setupSshd, sshTest } from './sshd-setup.ts';

/** Returns the server of this setup as a jump host with a name. */
function jumpOf({ target, credential }: SshSetup, name: string, more: Partial<JumpHost> = {}): JumpHost {
  return { target: { ...target, name }, credential, checkAddresses: () => {}, ...more };
}

sshTest('a target behind two jump hosts is reached, and each one must have its own host key', async () => {
  const [t, hop] = await Promise.all([setupSshd(), setupSshd()]);
  const outer = jumpOf(hop, 'outer');
  const inner = jumpOf(hop, 'inner');
  const connection = await t.connect({}, { jumps: [outer, inner] });
  const channel = await connection.exec('echo through');
  channel.end();
  expect(await text(channel)).toBe('through\n');
  const strange = { ...inner, target: { ...inner.target, hostKeys: [t.sshd.hostKeyLine] } };
  const refused = await t.refusal({}, { jumps: [outer, strange] });
  expect(refused).toMatchObject({ reason: 'jump_host_failed', retryable: false });
  expect(refused.message).toContain('Jump host “inner” on the way to “web-1”: ');
  expect(refused.message).toContain('SHA256:');
  const unknown = jumpOf(hop, 'outer', { credential: t.credential });
  const first = await t.refusal({}, { jumps: [unknown, inner] });
  expect(first.message).toMatch(/Jump host “outer” .* refused .*tried: publickey/);
});

sshTest('what a jump host reports about the target is reported as the target’s problem', async () => {
  const t = await setupSshd();
  const jumps = [jumpOf(t, 'bastion')];
  const closed = await t.refusal({}, { jumps, port: 1 });
  expect(closed).toMatchObject({ reason: 'connection_refused', retryable: true });
  expect(closed.message).toContain('From jump host “bastion”: Nothing listens at 127.0.0.1 port 1');
  const nowhere = await t.refusal({}, { jumps, host: 'no-such-host.invalid' });
  expect(nowhere.reason).toBe('name_not_found');
  const other = await t.refusal({}, { jumps, hostKeys: [] });
  expect(other.reason).toBe('host_key_unknown');
});

sshTest('a jump host that lets nothing through is named in the error', async () => {
  const t = await setupSshd({ config: ['AllowTcpForwarding no'] });
  const error = await t.refusal({}, { jumps: [jumpOf(t, 'bastion')] });
  expect(error).toMatchObject({ reason: 'jump_host_failed', retryable: false });
  expect(error.message).toContain('“bastion”');
  expect(error.advice).toContain('AllowTcpForwarding');
});

sshTest('a name behind a jump host is not resolved here, and an address is checked', async () => {
  const t = await setupSshd();
  const checked: (readonly string[])[] = [];
  const options = {
    checkAddresses: (addresses: readonly string[]) => void checked.push(addresses),
    resolve: async () => ['127.0.0.1'],
  };
  const jumps = [jumpOf(t, 'bastion')];
  await t.connect(options, { jumps });
  await t.connect(options, { jumps, host: 'localhost' });
  expect(checked).toEqual([['127.0.0.1'], []]);
});

sshTest(
  'targets behind one jump host share a connection to it, which is closed after the last of them',
  async () => {
    const t = await setupSshd();
    const pool = t.pool({ idleMs: 50 });
    const jumps = [jumpOf(t, 'bastion')];
    const open = (id: number) =>
      pool.open({ ...t.request, target: { ...t.target, id, jumps } }, (connection) => connection.exec('cat'));
    const channels = await Promise.all([open(1), open(2), open(3)]);
    expect(pool.connections).toBe(4);
    for (const { channel, release } of channels) {
      channel.close();
      release();
    }
    await expect.poll(() => pool.connections).toBe(0);
  },
);

sshTest('a ChaCha20 connection works through a ChaCha20 connection', async () => {
  const t = await setupSshd({ config: ['Ciphers chacha20-poly1305@openssh.com'] });
  const connection = await t.connect({}, { jumps: [jumpOf(t, 'outer'), jumpOf(t, 'inner')] });
  const channel = await connection.exec('cat');
  const sent = 'x'.repeat(300_000);
  channel.end(sent);
  expect(await text(channel)).toBe(sent);
});

sshTest('a port behind a jump host that is not an SSH server, or hangs up, is reported at once', async () => {
  const t = await setupSshd();
  const server = createServer((socket) => socket.end('hello\r\n'));
  onTestFinished(() => void server.close());
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  const { port } = server.address() as { port: number };
  const error = await t.refusal({ authTimeoutMs: 20_000 }, { jumps: [jumpOf(t, 'bastion')], port });
  expect(error.reason).toBe('unreachable');
});

sshTest('when a jump host is lost, so are the connections through it', async () => {
  const [t, hop] = await Promise.all([setupSshd(), setupSshd()]);
  const connection = await t.connect({}, { jumps: [jumpOf(hop, 'bastion')] });
  hop.sshd.killSessions();
  await connection.closed;
  expect((await refusalOf(connection.exec('true'))).reason).toBe('connection_lost');
});

test('a jump host that the machine’s policy forbids is reported as that', () => {
  const refused = new SshError({ reason: 'policy_refused', message: 'It does not.', advice: 'Ask.' });
  expect(jumpHostFailed({ name: 'bastion' }, { name: 'web-1' }, refused)).toMatchObject({
    reason: 'policy_refused',
    message: expect.stringContaining('“bastion”'),
  });
});

test('a server that refuses to connect without a reason is reported as that', () => {
  const cause = Object.assign(new Error('(SSH) Channel open failure: '), { reason: 1 });
  expect(forwardError({ host: '10.0.0.1', port: 22, timeoutMs: 1 }, cause)).toMatchObject({
    reason: 'channel_refused',
    message: 'It does not let connections to 10.0.0.1 port 22 through (no reason given).',
  });
});
