import { createHash, randomBytes } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import { chmod, chown, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { adminRole, type ClusterPasswords } from '../../../database/cluster-passwords.ts';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../../database/embedded-postgres.ts';
import { copyBegunData } from '../../../database/testing/begun-data.ts';
import {
  generateKey,
  issueCaCertificate,
  issueServerCertificate,
  keyToPem,
} from '../../../tls/issue-certificate.ts';
import { connect, connectBinary } from '../connection.ts';
import { databaseRefusal } from '../database-refusal.ts';
import { DriverSocket } from './driver-socket.ts';

const tell = (emitter: EventEmitter, name: string | symbol, ...rest: unknown[]) =>
  EventEmitter.prototype.emit.call(emitter, name, ...rest);

let folder: string;
let secure: EmbeddedPostgres;
let plain: EmbeddedPostgres;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'opsconductor-driver-'));
  // Under root, PostgreSQL runs as another account and would otherwise be placed outside.
  await chmod(folder, 0o755);
  const [home, dataDir] = [join(folder, 'secure'), join(folder, 'plain')];
  for (const each of [home, dataDir]) await copyBegunData(each);
  plain = await startEmbeddedPostgres({ dataDir, log: () => {} });
  const { uid, gid } = await stat(join(home, 'cluster'));
  const key = generateKey();
  const authorityKey = generateKey();
  const authority = {
    key: authorityKey,
    certificate: await issueCaCertificate(authorityKey, 'CN=test', new Date()),
  };
  const names = [{ type: 'ip' as const, value: '127.0.0.1' }];
  const certificate = await issueServerCertificate(authority, key, names, new Date());
  for (const [name, pem] of [
    ['server.key', keyToPem(key)],
    ['server.crt', certificate.toString('pem')],
  ] as const) {
    await writeFile(join(home, name), pem, { mode: 0o600 });
    await chown(join(home, name), uid, gid);
  }
  const settings = {
    ssl: 'on',
    ssl_key_file: join(home, 'server.key'),
    ssl_cert_file: join(home, 'server.crt'),
  };
  secure = await startEmbeddedPostgres({ dataDir: home, settings, log: () => {} });
});
afterAll(async () => {
  await plain?.stop();
  await secure?.stop();
  await rm(folder, { recursive: true, force: true });
});

async function asAdministrator({ url }: EmbeddedPostgres, dataDir = join(folder, 'plain')) {
  const text = await readFile(join(dataDir, 'credentials.json'), 'utf8');
  const as = new URL(url);
  as.username = adminRole;
  as.password = (JSON.parse(text) as ClusterPasswords).adminPassword;
  return connect(as.href, { max: 1 });
}

/** Whether a connection with this sslmode is encrypted; rejects if there is no connection. */
async function isEncrypted(database: EmbeddedPostgres, sslmode: string): Promise<boolean> {
  const url = new URL(database.url);
  url.searchParams.set('sslmode', sslmode);
  const sql = connect(url.href, { max: 1 });
  try {
    const [row] = await sql<{ ssl: boolean; text: string }[]>`
      select ssl, ${'x'.repeat(200_000)}::text as text from pg_stat_ssl where pid = pg_backend_pid()`;
    expect(row?.text).toHaveLength(200_000);
    return row?.ssl === true;
  } finally {
    await sql.end({ timeout: 1 });
  }
}

test.each([
  ['disable', false],
  ['prefer', true],
  ['require', true],
])('sslmode=%s to a database with TLS: encrypted %s', async (sslmode, encrypted) => {
  expect(await isEncrypted(secure, sslmode)).toBe(encrypted);
});

test('bytes that bypass the driver are encrypted, too', async () => {
  const url = new URL(secure.url);
  url.searchParams.set('sslmode', 'require');
  const sql = connect(url.href, { max: 1 });
  const binary = connectBinary(sql, { dialMs: 30_000 });
  const bytes = randomBytes(300_000);
  expect(
    await binary.query('select ssl, md5($1::bytea) from pg_stat_ssl where pid = pg_backend_pid()', [
      [bytes.subarray(0, 1), bytes.subarray(1)],
    ]),
  ).toEqual([['t', createHash('md5').update(bytes).digest('hex')]]);
  await Promise.all([sql.end({ timeout: 1 }), binary.end()]);
});

test('sslmode=verify-full refuses a certificate that no known authority has signed', async () => {
  const refusal = await isEncrypted(secure, 'verify-full').catch((error: unknown) => error);
  expect(refusal).toMatchObject({ message: expect.stringContaining('unable to verify') });
  expect(databaseRefusal(refusal, secure.url)).toMatchObject({
    message: expect.stringMatching(/is not trusted here: .* sslrootcert=\/path\/of\/ca\.pem\.$/),
  });
});

test('sslmode=prefer does without TLS if the server has none; require and verify-full refuse', async () => {
  expect(await isEncrypted(plain, 'prefer')).toBe(false);
  await expect(isEncrypted(plain, 'require')).rejects.toThrow(/speaks no TLS/);
  await expect(isEncrypted(plain, 'verify-full')).rejects.toThrow(/speaks no TLS/);
});

test('a database that is not there fails a query at once', async () => {
  const url = new URL(plain.url);
  url.port = '1';
  const sql = connect(url.href, { max: 1 });
  await expect(sql`select 1`).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  await expect(sql`select 1`).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  await sql.end({ timeout: 1 });
});

test('a query that was about to be sent when a connection was lost does not block the next connection', async () => {
  const sql = connect(plain.url, { max: 1 });
  const [self] = await sql<{ pid: number }[]>`select pg_backend_pid() as pid`;
  let late: Promise<unknown> | undefined;
  const emit = vi.spyOn(DriverSocket.prototype, 'emit');
  emit.mockImplementation(function (this: DriverSocket, name: string | symbol, ...rest: unknown[]) {
    if (name !== 'close' || late !== undefined) return tell(this, name, ...rest);
    // Sent in the very turn in which the driver learns of the end, so that it has not written it yet.
    late = sql`select ${'late'}::text`.catch((error: Error) => error);
    void Promise.resolve()
      .then(() => undefined)
      .then(() => tell(this, name, ...rest));
    return true;
  });
  process.kill(self?.pid ?? 0, 'SIGTERM');
  await expect.poll(() => late).toBeDefined();
  emit.mockRestore();
  const askedAt = performance.now();
  expect(await late).toBeInstanceOf(Error);
  expect(await sql`select 1 as n`).toEqual([{ n: 1 }]);
  expect(performance.now() - askedAt).toBeLessThan(5_000);
  await sql.end({ timeout: 1 });
});

test('what came while the driver had paused is read as soon as it asks for more', async () => {
  const idle = Buffer.from('5a0000000549', 'hex');
  const server = createServer((peer) => {
    peer.write(idle);
    peer.on('data', () => peer.write(idle));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const socket = new DriverSocket({ host: '127.0.0.1', port, tls: { mode: 'off' } });
  await once(socket, 'data');
  socket.pause();
  socket.write(Buffer.from('next'));
  await once(socket, 'data');
  socket.destroy();
  server.close();
});

test('each query that a lost connection ends is rejected with its own error', async () => {
  const sql = connect(plain.url, { max: 1 });
  const [self] = await sql<{ pid: number }[]>`select pg_backend_pid() as pid`;
  const told: Error[] = [];
  let ask = () => {};
  const emit = vi.spyOn(DriverSocket.prototype, 'emit');
  emit.mockImplementation(function (this: DriverSocket, name: string | symbol, ...rest: unknown[]) {
    if (name === 'error') told.push(rest[0] as Error);
    const result = tell(this, name, ...rest);
    if (name === 'error') ask();
    return result;
  });
  const asked: Promise<unknown>[] = [];
  ask = () => {
    if (asked.length < 2) asked.push(sql`select 1`.catch((error: Error) => error));
  };
  process.kill(self?.pid ?? 0, 'SIGTERM');
  await expect.poll(() => asked.length).toBe(2);
  emit.mockRestore();
  expect(new Set(await Promise.all(asked)).size).toBe(2);
  expect(new Set(told).size).toBe(told.length);
  await sql.end({ timeout: 1 });
});

test('the error that ended a connection reaches the query it interrupted, and not the next one', async () => {
  const [sql, other] = [connect(plain.url, { max: 1 }), connect(plain.url, { max: 1 })];
  const emit = vi.spyOn(DriverSocket.prototype, 'emit');
  try {
    const [{ pid }] = await sql<[{ pid: number }]>`select pg_backend_pid() as pid`;
    const interrupted = sql`select pg_sleep(60)`.then(
      () => undefined,
      (error: unknown) => error,
    );
    await vi.waitFor(
      async () => {
        const rows = await other`select from pg_stat_activity where pid = ${pid} and wait_event = 'PgSleep'`;
        expect(rows).toHaveLength(1);
      },
      { timeout: 10_000 },
    );
    await other`select pg_terminate_backend(${pid})`;
    expect(await interrupted).toMatchObject({
      code: '57P01',
      message: expect.stringContaining('terminating'),
    });
    await vi.waitFor(() => expect(emit).toHaveBeenCalledWith('close', false), { timeout: 10_000 });
    expect(await sql`select 1 as one`).toEqual([{ one: 1 }]);
  } finally {
    emit.mockRestore();
    await Promise.all([sql.end({ timeout: 1 }), other.end({ timeout: 1 })]);
  }
});

test('a refused login is reported to the query that was waiting, and not to a later one that can log in', async () => {
  const sql = connect(plain.url, { max: 1 });
  const emit = vi.spyOn(DriverSocket.prototype, 'emit');
  const isClosed = (times: number) =>
    vi.waitFor(() => expect(emit.mock.calls.filter(([name]) => name === 'close')).toHaveLength(times), {
      timeout: 10_000,
    });
  const administrator = await asAdministrator(plain);
  const { username } = new URL(plain.url);
  try {
    const [{ pid }] = await sql<[{ pid: number }]>`select pg_backend_pid() as pid`;
    const interrupted = sql`select pg_sleep(60)`.catch((error: unknown) => error);
    await vi.waitFor(
      async () => {
        const rows =
          await administrator`select from pg_stat_activity where pid = ${pid} and wait_event = 'PgSleep'`;
        expect(rows).toHaveLength(1);
      },
      { timeout: 10_000 },
    );
    await administrator.unsafe(`alter role ${username} nologin`);
    await administrator`select pg_terminate_backend(${pid})`;
    expect(await interrupted).toMatchObject({ code: '57P01' });
    await isClosed(1);
    await expect(sql`select 1`).rejects.toMatchObject({
      code: '28000',
      message: expect.stringContaining('not permitted to log in'),
    });
    await isClosed(2);
    await administrator.unsafe(`alter role ${username} login`);
    expect(await sql`select 1 as one`).toEqual([{ one: 1 }]);
  } finally {
    emit.mockRestore();
    await administrator.unsafe(`alter role ${username} login`);
    await Promise.all([sql.end({ timeout: 1 }), administrator.end({ timeout: 1 })]);
  }
});
