import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { Duplex } from 'node:stream';
import { text } from 'node:stream/consumers';
import ssh2 from 'ssh2';
import { expect, onTestFinished, test } from 'vitest';
import type { StepTarget } from '../steps/step-type.ts';
import { ed25519KeyPair } from '../testing/ssh-keys.ts';
import { connectSsh, writeTurnsWhole } from './connect.ts';
import { channelExit } from './connection.ts';
import { hostKeyFingerprint } from './host-key.ts';
import { SshError } from './ssh-error.ts';
import { accountTest, refusalOf, setupSshd, sshTest } from './sshd-setup.ts';
import { testConnection } from './test-connection.ts';

const password = { kind: 'ssh_password', id: '8', version: 1, user: 'opsdeploy' } as const;
const account = { name: 'opsdeploy' };
const fixturePassword = 'correct horse battery staple';

/** Opens a port on which something listens that is not an SSH server. */
async function listen(serve: (socket: Socket) => void): Promise<StepTarget> {
  const server = createServer(serve);
  const sockets = new Set<Socket>();
  server.on('connection', (socket) => sockets.add(socket.on('error', () => {})));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { id: 1, name: 't', host: '127.0.0.1', port: (server.address() as AddressInfo).port, hostKeys: [] };
}

function dial(target: StepTarget, more: Partial<Parameters<typeof connectSsh>[2]> = {}) {
  return refusalOf(connectSsh(target, { ...password, password: 'x' }, { checkAddresses: () => {}, ...more }));
}

sshTest('a key opens the target, with AES-GCM and the host key that was accepted', async () => {
  const t = await setupSshd();
  const connection = await t.connect();
  const channel = await connection.exec('echo hello');
  channel.end();
  expect(await text(channel)).toBe('hello\n');
  expect(connection.cipher).toBe('aes128-gcm@openssh.com');
  expect(connection.serverVersion).toMatch(/^SSH-2\.0-OpenSSH/);
});

sshTest('data that was read and kept stays unchanged while more is read', async () => {
  const t = await setupSshd();
  const connection = await t.connect();
  const channel = await connection.exec('seq 1 400000');
  channel.end();
  const lines = Array.from({ length: 400_000 }, (_, n) => `${n + 1}\n`);
  expect((await text(channel)) === lines.join('')).toBe(true);
});

test('what is written in one turn leaves together, behind what the turn had still to do', async () => {
  const log: string[] = [];
  const socket = writeTurnsWhole(
    new Duplex({
      read: () => undefined,
      writev: (chunks, done) => {
        log.push(chunks.map(({ chunk }) => String(chunk)).join('+'));
        done();
      },
    }),
  );
  setImmediate(() => log.push('output is handed on'));
  socket.write('end of the channel');
  await Promise.resolve().then(() => socket.write('next channel'));
  await new Promise(setImmediate);
  expect(log).toEqual(['output is handed on', 'end of the channel+next channel']);
});

sshTest('testing a connection returns what answered, and a refusal as data', async () => {
  const t = await setupSshd();
  const good = await testConnection(t.target, t.credential, { checkAddresses: () => {} });
  expect(good).toMatchObject({ ok: true, hostKeyFingerprint: expect.stringMatching(/^SHA256:/) });
  const bad = await testConnection({ ...t.target, hostKeys: [] }, t.credential, { checkAddresses: () => {} });
  expect(bad).toMatchObject({ ok: false, error: { reason: 'host_key_unknown' } });
});

sshTest('a key that nobody accepted is offered for acceptance, and not trusted', async () => {
  const t = await setupSshd();
  const error = await t.refusal({}, { hostKeys: [] });
  expect(error.reason).toBe('host_key_unknown');
  expect(error.retryable).toBe(false);
  expect(t.sshd.hostKeyLine).toContain(error.offeredHostKey?.line);
  expect(error.message).toContain(error.offeredHostKey?.fingerprint);
  expect(error.advice).toContain(error.offeredHostKey?.line);
  // Accepting exactly what was offered opens the target.
  await t.connect({}, { hostKeys: [error.offeredHostKey?.line ?? ''] });
});

sshTest('a fingerprint given in advance accepts its own key, and no other', async () => {
  const t = await setupSshd();
  const fingerprint = (line: string) => hostKeyFingerprint(Buffer.from(line.split(' ')[1] ?? '', 'base64'));
  await t.connect({}, { hostKeys: [fingerprint(t.sshd.hostKeyLine)] });
  const other = fingerprint(ed25519KeyPair().public);
  const error = await t.refusal({}, { hostKeys: [other] });
  expect(error.reason).toBe('host_key_mismatch');
  expect(error.message).toContain(other);
});

sshTest('a key other than the accepted one is refused before the credential is used', async () => {
  const t = await setupSshd({ config: ['LogLevel VERBOSE'] });
  const other = ed25519KeyPair().public;
  const error = await t.refusal({}, { hostKeys: [other] });
  expect(error.reason).toBe('host_key_mismatch');
  expect(error.message.match(/SHA256:/g)).toHaveLength(2);
  expect(t.sshd.log()).not.toMatch(/publickey|password/);
});

for (const type of ['ed25519', 'ecdsa', 'rsa'] as const) {
  sshTest(`a host with several keys is asked for the accepted ${type} key`, async () => {
    const t = await setupSshd({ hostKeys: ['rsa', 'ecdsa', 'ed25519'] });
    const accepted = t.sshd.hostKeyLines.filter((line) => line.includes(type));
    expect(accepted).toHaveLength(1);
    await t.connect({}, { hostKeys: accepted });
  });
}

sshTest('a refused user has its own message, with what was tried and what is allowed', async () => {
  const t = await setupSshd();
  t.credential = { ...t.credential, privateKey: ed25519KeyPair().private } as never;
  const error = await t.refusal();
  expect(error.reason).toBe('auth_failed');
  expect(error.message).toContain('tried: publickey; the server allows: publickey');
});

sshTest('a password is reported as the wrong kind of credential if only keys are allowed', async () => {
  const t = await setupSshd();
  t.credential = { ...password, user: t.sshd.user, password: 'secret-word' };
  const error = await t.refusal();
  expect(error).toMatchObject({ reason: 'auth_failed' });
  expect(error.advice).toContain('publickey');
  expect(JSON.stringify(error) + error.message).not.toContain('secret-word');
});

accountTest('a password opens the target', async () => {
  const t = await setupSshd({ account, login: ['password'] });
  t.credential = { ...password, password: fixturePassword };
  await t.connect();
});

accountTest('a wrong password is refused, also if the server asks for it with a prompt', async () => {
  for (const login of ['password', 'keyboard'] as const) {
    const t = await setupSshd({ account, login: [login] });
    t.credential = { ...password, password: 'wrong' };
    expect((await t.refusal()).reason).toBe('auth_failed');
  }
});

accountTest('a password answers the one prompt that asks for it', async () => {
  const t = await setupSshd({ account, login: ['keyboard'] });
  t.credential = { ...password, password: fixturePassword };
  await t.connect();
});

test('a password is given to no other prompt', async () => {
  const hostKey = ed25519KeyPair();
  for (const prompts of [
    [{ prompt: 'Verification code: ', echo: false }],
    [{ prompt: 'New password: ', echo: false }],
    [{ prompt: 'Password: ', echo: true }],
    [
      { prompt: 'Password: ', echo: false },
      { prompt: 'One-time password: ', echo: false },
    ],
  ]) {
    const answers: string[] = [];
    const server = new ssh2.Server({ hostKeys: [hostKey.private] }, (client) => {
      client.on('error', () => {});
      client.on('authentication', (context) => {
        if (context.method !== 'keyboard-interactive') return context.reject(['keyboard-interactive']);
        context.prompt(prompts, (given) => {
          answers.push(...given);
          context.reject();
        });
      });
    });
    const target = await listen((socket) => server.injectSocket(socket));
    const error = await dial({ ...target, hostKeys: [hostKey.public] });
    expect(error.reason).toBe('auth_failed');
    expect(error.message).toContain(prompts[0]?.prompt.trim());
    expect(answers.join('')).toBe('');
  }
});

test('a login that the server breaks off, as for an expired account, is told from a failed handshake', async () => {
  const hostKey = ed25519KeyPair();
  const server = new ssh2.Server({ hostKeys: [hostKey.private] }, (client) => {
    client.on('error', () => {});
    client.on('authentication', () => client.end());
  });
  const target = await listen((socket) => server.injectSocket(socket));
  const error = await dial({ ...target, hostKeys: [hostKey.public] });
  expect(error).toMatchObject({
    reason: 'unreachable',
    message: expect.stringMatching(/ broke off the login of \w+: /),
    advice: expect.stringContaining('chage -l'),
  });
});

sshTest(
  'a text before the login that is longer than a packet may be is named as what the agent refused',
  async () => {
    const folder = await mkdtemp(join(tmpdir(), 'banner-'));
    onTestFinished(() => rm(folder, { recursive: true }));
    const banner = join(folder, 'banner');
    await chmod(folder, 0o755);
    await writeFile(banner, 'No trespassing. '.repeat(2_500));
    const t = await setupSshd({ config: [`Banner ${banner}`] });
    expect(await t.refusal()).toMatchObject({
      reason: 'unreachable',
      message: expect.stringContaining('sent a packet that is longer than SSH allows'),
      advice: expect.stringContaining('Banner in sshd_config'),
    });
    await writeFile(banner, 'No trespassing. '.repeat(2_000));
    await expect(t.connect()).resolves.toBeDefined();
  },
);

sshTest('a server with only old algorithms has none in common', async () => {
  const t = await setupSshd({ config: ['KexAlgorithms diffie-hellman-group14-sha1'] });
  const error = await t.refusal();
  expect(error).toMatchObject({ reason: 'no_common_algorithm', retryable: false });
  expect(error.message).toContain('key exchange');
});

test('a name that does not exist is not found', async () => {
  const error = await dial({ id: 1, name: 't', host: 'no-such-host.invalid', port: 22, hostKeys: [] });
  expect(error.reason).toBe('name_not_found');
  expect(error.message).toContain('no-such-host.invalid');
});

test('a closed port is a refused connection', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  const error = await dial({ id: 1, name: 't', host: '127.0.0.1', port, hostKeys: [] });
  expect(error).toMatchObject({ reason: 'connection_refused', retryable: true });
});

test('an address without a route is unreachable', async () => {
  const resolve = async () => ['255.255.255.255'];
  const error = await dial({ id: 1, name: 't', host: 'nowhere', port: 22, hostKeys: [] }, { resolve });
  expect(error.reason).toBe('unreachable');
});

test.runIf(process.platform === 'linux')('a host that drops packets times out', async () => {
  // A backlog of one that nobody accepts from: Linux then answers no further SYN.
  const script =
    'use Socket; socket(S,PF_INET,SOCK_STREAM,0); bind(S,sockaddr_in(0,inet_aton("127.0.0.1"))); listen(S,0); ' +
    '$|=1; print((sockaddr_in(getsockname(S)))[0],"\\n"); <STDIN>';
  const deaf = spawn('perl', ['-e', script], { stdio: ['pipe', 'pipe', 'inherit'] });
  onTestFinished(() => void deaf.kill('SIGKILL'));
  const port = Number(String((await once(deaf.stdout, 'data')).at(0)));
  const filling = connect(port, '127.0.0.1').on('error', () => {});
  onTestFinished(() => void filling.destroy());
  await once(filling, 'connect');
  const target = { id: 1, name: 't', host: '127.0.0.1', port, hostKeys: [] };
  const error = await dial(target, { connectTimeoutMs: 150 });
  expect(error).toMatchObject({ reason: 'connect_timed_out', retryable: true });
  const patient = await dial({ ...target, connectTimeoutS: 1 }, { connectTimeoutMs: 60_000 });
  expect(patient.message).toContain('1 s');
});

test('a port that accepts and stays silent times out', async () => {
  const target = await listen(() => {});
  const error = await dial(target, { authTimeoutMs: 100 });
  expect(error.reason).toBe('connect_timed_out');
  expect(error.message).toContain('0.1 s');
});

test('a port without an SSH server is unreachable over SSH', async () => {
  const web = await listen((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'));
  expect(await dial(web)).toMatchObject({ reason: 'unreachable' });
  const closing = await listen((socket) => socket.end());
  expect((await dial(closing)).message).toContain('did not answer as an SSH server');
});

test('a key that can not be read is reported before anything is dialed', async () => {
  let dialled = false;
  const target = await listen(() => {
    dialled = true;
  });
  const key = ed25519KeyPair({
    passphrase: 'open sesame',
    cipher: 'aes256-ctr',
    rounds: 4,
  });
  const credential = {
    kind: 'ssh_private_key',
    id: '1',
    version: 1,
    user: 'u',
    privateKey: key.private,
  } as const;
  const error = await refusalOf(connectSsh(target, credential, { checkAddresses: () => {} }));
  expect(error.reason).toBe('credential_unusable');
  expect(dialled).toBe(false);
});

sshTest('exactly the addresses that were checked are dialed, in their order', async () => {
  const t = await setupSshd();
  const checked: string[][] = [];
  const resolved: string[] = [];
  await t.connect(
    {
      resolve: async (host) => {
        resolved.push(host);
        return ['127.255.255.254', '127.0.0.1'];
      },
      checkAddresses: (addresses) => void checked.push([...addresses]),
    },
    { host: 'web-1.internal' },
  );
  expect(resolved).toEqual(['web-1.internal']);
  expect(checked).toEqual([['127.255.255.254', '127.0.0.1']]);
});

test('addresses outside the bounds are not dialed', async () => {
  let dialled = false;
  const target = await listen(() => {
    dialled = true;
  });
  const checkAddresses = () => {
    throw new SshError({ reason: 'credential_bounds', message: 'not this network', advice: 'none' });
  };
  expect((await dial(target, { checkAddresses })).reason).toBe('credential_bounds');
  expect(dialled).toBe(false);
});

test('giving up while connecting closes the socket', async () => {
  const giveUp = new AbortController();
  let closed: Promise<unknown> | undefined;
  const target = await listen((socket) => {
    closed = once(socket, 'close');
    giveUp.abort(new Error('enough'));
  });
  const attempt = connectSsh(
    target,
    { ...password, password: 'x' },
    { checkAddresses: () => {}, signal: giveUp.signal },
  );
  await expect(attempt).rejects.toThrow('enough');
  await closed;
  expect(closed).toBeDefined();
});

sshTest('an IPv6 address is dialed, also through a jump host', async ({ skip }) => {
  const hasIpv6 = Object.values(networkInterfaces()).some((all) =>
    all?.some(({ address }) => address === '::1'),
  );
  if (!hasIpv6) skip('this machine has no IPv6');
  const t = await setupSshd({ address: '::1' });
  const checked: (readonly string[])[] = [];
  const options = { checkAddresses: (addresses: readonly string[]) => void checked.push(addresses) };
  await t.connect(options);
  const jump = { target: { ...t.target, name: 'hop' }, credential: t.credential, checkAddresses: () => {} };
  await t.connect(options, { jumps: [jump] });
  expect(checked).toEqual([['::1'], ['::1']]);
});

sshTest('a lost connection is noticed, and opens nothing more', async () => {
  const t = await setupSshd();
  const connection = await t.connect();
  t.sshd.killSessions();
  await connection.closed;
  expect(connection.open).toBe(false);
  expect((await refusalOf(connection.exec('true'))).reason).toBe('connection_lost');
});

sshTest('sessions beyond MaxSessions are refused channels', async () => {
  const t = await setupSshd({ config: ['MaxSessions 1'] });
  const connection = await t.connect();
  await connection.exec('cat');
  expect((await refusalOf(connection.exec('true'))).reason).toBe('channel_refused');
});

test('the name of a signal is a word, whatever the server calls it', () => {
  expect(channelExit(3)).toEqual({ code: 3, signal: undefined });
  expect(channelExit(null, 'SIGKILL')).toEqual({ code: null, signal: 'KILL' });
  expect(channelExit(null)).toEqual({ code: null, signal: '' });
  expect(channelExit(null, `\u001b[2J\0${'X'.repeat(10_000)}`).signal).toMatch(/^2JX{30}$/);
});
