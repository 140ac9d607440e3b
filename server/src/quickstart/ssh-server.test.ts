import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import ssh2, { type Client, type ClientChannel, type ConnectConfig } from 'ssh2';
import { afterEach, expect, test, vi } from 'vitest';
import { generateDemoKeys } from './demo-keys.ts';
import { type DemoSshServer, type DemoSshServerOptions, startDemoSshServer } from './ssh-server.ts';

const keys = await generateDemoKeys();
const cleanups: (() => Promise<unknown> | undefined)[] = [];

afterEach(async () => {
  vi.unstubAllEnvs();
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function setup(options: Partial<DemoSshServerOptions> = {}) {
  const server = await startDemoSshServer({
    hostKey: keys.host.privateKey,
    authorizedKey: keys.client.publicKey,
    ...options,
  });
  cleanups.push(() => server.close());
  return server;
}

async function login(server: DemoSshServer, config: ConnectConfig = {}): Promise<Client> {
  const client = new ssh2.Client();
  cleanups.push(async () => client.destroy());
  const ready = once(client, 'ready');
  const settings = { host: server.host, port: server.port, username: server.user };
  client.connect({ ...settings, privateKey: keys.client.privateKey, ...config });
  await ready;
  client.on('error', () => {});
  return client;
}

function exec(client: Client, command: string): Promise<ClientChannel> {
  return new Promise((resolve, reject) => {
    client.exec(command, (error, channel) => (error ? reject(error) : resolve(channel)));
  });
}

async function run(client: Client, command: string, input = '') {
  const channel = await exec(client, command);
  const exit = once(channel, 'exit');
  const output = Promise.all([text(channel), text(channel.stderr)]);
  channel.end(input);
  const [stdout, stderr] = await output;
  const [code, signal] = await exit;
  return { stdout, stderr, code, signal };
}

function runs(pid: string): boolean {
  return existsSync(`/proc/${pid}`) && !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
}

test('a command gets its stdin, and its output, errors and exit code come back separately', async () => {
  const client = await login(await setup());
  const result = await run(client, 'cat; echo trouble >&2; exit 7', 'typed in');
  expect(result).toEqual({ stdout: 'typed in', stderr: 'trouble\n', code: 7, signal: undefined });
});

test('commands run without rights, without groups of root and without the server’s environment', async () => {
  vi.stubEnv('OPSCONDUCTOR_DEMO_PROBE', 'secret');
  const server = await setup();
  const client = await login(server);
  const { stdout } = await run(client, 'id -u; id -G; env; pwd; touch here && echo can write');
  const [uid, groups] = stdout.split('\n');
  expect(uid).not.toBe('0');
  if (process.getuid?.() === 0) expect(groups?.split(' ')).not.toContain('0');
  expect(stdout).not.toContain('secret');
  expect(stdout).toContain('can write');
});

test.runIf(process.getuid?.() === 0)('the server refuses to run commands as root', async () => {
  await expect(setup({ account: 'root' })).rejects.toThrow('that is root');
});

test('only the one key under the one name gets in', async () => {
  const server = await setup();
  const other = (await generateDemoKeys()).client.privateKey;
  await expect(login(server, { privateKey: other })).rejects.toThrow('authentication');
  await expect(login(server, { username: 'root' })).rejects.toThrow('authentication');
  const { privateKey: _, ...password } = { privateKey: '', password: 'demo' };
  await expect(login(server, { ...password, privateKey: undefined as never })).rejects.toThrow(
    'authentication',
  );
  await expect(login(server)).resolves.toBeDefined();
});

test('the host key is the one that was given', async () => {
  const server = await setup();
  let presented = '';
  await login(server, {
    hostVerifier: (key: Buffer) => {
      presented = `ssh-ed25519 ${key.toString('base64')}`;
      return true;
    },
  });
  expect(presented).toBe(server.hostKeyLine);
  expect(keys.host.publicKey.startsWith(server.hostKeyLine)).toBe(true);
});

test('no other address of the machine answers', async () => {
  const server = await setup();
  const others = Object.values(networkInterfaces())
    .flat()
    .filter((address) => address && !address.internal && address.family === 'IPv4');
  for (const address of others) {
    const socket = connect(server.port, address?.address);
    await expect(once(socket, 'connect')).rejects.toThrow('ECONNREFUSED');
  }
});

test('there is no terminal, no shell, no SFTP and no forwarding', async () => {
  const client = await login(await setup());
  const refused = (start: (done: (error: Error | undefined) => void) => void) =>
    new Promise((resolve) => start((error) => resolve(error?.message)));
  expect(await refused((done) => client.shell(done))).toBeDefined();
  expect(await refused((done) => client.sftp(done))).toBeDefined();
  expect(await refused((done) => client.exec('true', { pty: true }, done))).toBeDefined();
  expect(await refused((done) => client.forwardOut('127.0.0.1', 1, '127.0.0.1', 22, done))).toBeDefined();
  expect(await refused((done) => client.forwardIn('127.0.0.1', 0, done))).toBeDefined();
});

test('a signal reaches the whole process group, and the end by that signal is reported', async () => {
  const client = await login(await setup());
  const channel = await exec(client, 'sleep 1000 & echo $!; wait; echo never');
  const exit = once(channel, 'exit');
  const closed = once(channel, 'close');
  const [child] = await once(channel, 'data');
  channel.signal('TERM');
  expect((await exit).slice(0, 2)).toEqual([null, 'SIGTERM']);
  await closed;
  // An orphan is a zombie until init has reaped it.
  await expect.poll(() => runs(String(child).trim())).toBe(false);
});

test('3 MB over both streams arrive complete at a reader that keeps stopping', async () => {
  const client = await login(await setup());
  const line =
    'i=0; while [ $i -lt 24 ]; do head -c 65536 /dev/zero | tr "\\0" o; head -c 65536 /dev/zero | tr "\\0" e >&2; i=$((i+1)); done';
  const channel = await exec(client, line);
  const sums = await Promise.all(
    [channel, channel.stderr].map(async (stream) => {
      const hash = createHash('sha256');
      let length = 0;
      // Reading by hand lets each stream fill its window before reading continues.
      for await (const bytes of stream) {
        hash.update(bytes);
        length += bytes.length;
        await new Promise(setImmediate);
      }
      return { length, digest: hash.digest('hex') };
    }),
  );
  const expected = (letter: string) =>
    createHash('sha256')
      .update(letter.repeat(24 * 65536))
      .digest('hex');
  expect(sums).toEqual([
    { length: 24 * 65536, digest: expected('o') },
    { length: 24 * 65536, digest: expected('e') },
  ]);
});

test('a window filled by one stream and then by the other is refilled for both', async () => {
  const client = await login(await setup());
  const channel = await exec(client, 'head -c 5000000 /dev/zero; head -c 5000000 /dev/zero >&2');
  // Only when the window is empty is the server known to be waiting.
  const { incoming } = channel as unknown as { incoming: { window: number } };
  const full = async (stream: Readable) => {
    while (incoming.window > 0 || stream.readableLength === 0) await new Promise(setImmediate);
  };
  channel.pause();
  channel.stderr.pause();
  await full(channel);
  const out = text(channel);
  await full(channel.stderr);
  const err = text(channel.stderr);
  expect([(await out).length, (await err).length]).toEqual([5_000_000, 5_000_000]);
});

test('sessions and connections beyond the limits are refused, and places become free again', async () => {
  const server = await setup({ limits: { sessions: 2, connections: 1 } });
  const client = await login(server);
  const first = await exec(client, 'cat');
  const second = await exec(client, 'cat');
  await expect(exec(client, 'true')).rejects.toThrow('open failure');
  await expect(login(server)).rejects.toThrow();
  const closed = Promise.all([once(first, 'close'), once(second, 'close')]);
  for (const channel of [first, second]) channel.resume().end();
  for (const channel of [first, second]) channel.stderr.resume();
  await closed;
  for (let i = 0; i < 5; i += 1) expect((await run(client, 'echo again')).stdout).toBe('again\n');
});

test('a connection that does not authenticate is closed', async () => {
  const server = await setup({ limits: { authenticationMs: 50 } });
  const socket = connect(server.port, server.host);
  socket.resume();
  await once(socket, 'close');
});

test('closing the server ends what runs and removes its folder', async () => {
  const server = await setup();
  const client = await login(server);
  const channel = await exec(client, 'trap "" TERM HUP; echo $$ $HOME; while :; do sleep 1000; done');
  const [first] = await once(channel, 'data');
  const [pid, home] = String(first).trim().split(' ');
  await server.close();
  expect(existsSync(`/proc/${pid}`)).toBe(false);
  expect(existsSync(home ?? '')).toBe(false);
});

test.runIf(existsSync('/usr/bin/ssh'))("OpenSSH's client runs a command on it", async () => {
  const server = await setup();
  const dir = mkdtempSync(join(tmpdir(), 'opsconductor-test-'));
  cleanups.push(async () => rmSync(dir, { recursive: true }));
  writeFileSync(join(dir, 'key'), keys.client.privateKey, { mode: 0o600 });
  writeFileSync(join(dir, 'known_hosts'), `[${server.host}]:${server.port} ${server.hostKeyLine}\n`);
  const options = ['StrictHostKeyChecking=yes', 'BatchMode=yes', 'IdentitiesOnly=yes'].flatMap((o) => [
    '-o',
    o,
  ]);
  const files = [
    '-F',
    'none',
    '-i',
    join(dir, 'key'),
    '-o',
    `UserKnownHostsFile=${join(dir, 'known_hosts')}`,
  ];
  const child = spawn(
    'ssh',
    [
      ...files,
      ...options,
      '-p',
      String(server.port),
      `${server.user}@${server.host}`,
      'cat; echo oops >&2; exit 5',
    ],
    { stdio: ['pipe', 'pipe', 'pipe'] },
  );
  const input = readFileSync(process.execPath).subarray(0, 3_000_000);
  const hash = createHash('sha256');
  child.stdout.on('data', (bytes) => hash.update(bytes));
  const stderr = text(child.stderr);
  child.stdin.end(input);
  const [code] = await once(child, 'close');
  expect(await stderr).toContain('oops');
  expect(code).toBe(5);
  expect(hash.digest('hex')).toBe(createHash('sha256').update(input).digest('hex'));
});

test('its process starts although the file with its last port is empty, as after a power cut', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'opsconductor-ssh-'));
  const file = (name: string) => join(folder, name);
  cleanups.push(async () => rmSync(folder, { recursive: true }));
  writeFileSync(file('host-key'), keys.host.privateKey);
  writeFileSync(file('client-key.pub'), keys.client.publicKey);
  writeFileSync(file('ssh-server.json'), '');
  const main = join(import.meta.dirname, 'ssh-server-main.ts');
  const child = spawn(process.execPath, ['--import', import.meta.resolve('tsx'), main, folder], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const said = text(child.stderr);
  const ended = once(child, 'exit');
  cleanups.push(() => {
    child.kill('SIGKILL');
    return ended;
  });
  const isUp = vi.waitFor(
    () => expect(JSON.parse(readFileSync(file('ssh-server.json'), 'utf8'))).toMatchObject({ pid: child.pid }),
    { timeout: 20_000 },
  );
  await Promise.race([isUp, ended.then(async () => Promise.reject(new Error(await said)))]);
});
