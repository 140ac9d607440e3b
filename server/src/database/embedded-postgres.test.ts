import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chown, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { pickFreePort } from './postgres/postmaster.ts';
import { setup, startServerProcess } from './testing/setup.ts';

test('a cold start creates the database and says what it does', async () => {
  const t = await setup();
  const database = await t.start();

  const sql = t.connect(database.url);
  const [row] = await sql`
    SELECT current_database() AS name, current_setting('server_encoding') AS encoding,
           current_setting('data_checksums') AS checksums, current_setting('fsync') AS fsync,
           current_setting('listen_addresses') AS addresses, current_setting('lc_messages') AS messages,
           current_setting('idle_in_transaction_session_timeout') AS idle, lower('ÄÖ') AS lower,
           (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS super`;
  expect(row).toEqual({
    name: 'opsconductor',
    encoding: 'UTF8',
    checksums: 'on',
    fsync: 'on',
    addresses: '127.0.0.1',
    messages: 'C',
    idle: '1min',
    lower: 'äö',
    super: false,
  });
  expect(database.adopted).toBe(false);
  expect(t.messages.join('\n')).toMatch(/Creating the database in .*\n.*runs on port \d+/);
});

test('a second start finds the data that the first one left', async () => {
  const t = await setup({ begun: true });
  const first = await t.start();
  const sql = t.connect(first.url);
  await sql`CREATE TABLE kept AS SELECT 42 AS answer`;
  await sql.end();
  await first.stop();
  await expect(first.exited).resolves.toEqual({ expected: true, reason: 'stopped' });

  const second = await t.start();
  expect([...(await t.connect(second.url)`SELECT answer FROM kept`)]).toEqual([{ answer: 42 }]);
});

test('a wrong password is refused and the secrets are readable by the owner only', async () => {
  const t = await setup({ begun: true });
  const database = await t.start();

  const wrong = new URL(database.url);
  wrong.password = 'x';
  await expect(t.connect(wrong.href)`SELECT 1`).rejects.toThrow(/password authentication failed/);
  expect((await stat(join(t.dataDir, 'credentials.json'))).mode & 0o777).toBe(0o600);
  expect((await stat(join(t.dataDir, 'cluster'))).mode & 0o777).toBe(0o700);
});

test("an operator's tuning wins over the defaults, but opens no other address", async () => {
  const t = await setup({ begun: true });
  await writeFile(join(t.dataDir, 'tuning.conf'), "work_mem = '9MB'\nlisten_addresses = '*'\n");

  const sql = t.connect((await t.start()).url);
  const [row] = await sql`
    SELECT current_setting('work_mem') AS memory, current_setting('listen_addresses') AS addresses`;
  expect(row).toEqual({ memory: '9MB', addresses: '127.0.0.1' });
});

test('a port that was taken meanwhile is replaced by another one', async () => {
  const t = await setup({ begun: true });
  const other = createServer().listen(0, '127.0.0.1');
  await once(other, 'listening');
  onTestFinished(() => void other.close());
  const address = other.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  const ports = [address.port, await pickFreePort()];

  const database = await t.start({ pickPort: async () => ports.shift() ?? 0 });
  expect(new URL(database.url).port).not.toBe(String(address.port));
  expect([...(await t.connect(database.url)`SELECT 1 AS one`)]).toEqual([{ one: 1 }]);
});

test('an unusable setting is reported with what PostgreSQL said', async () => {
  const t = await setup({ begun: true });
  await expect(t.start({ settings: { shared_buffers: 'plenty' } })).rejects.toThrow(
    /did not start.*shared_buffers/s,
  );
  await t.start();
});

test.each([
  ['names a process that runs but is no postgres', (pid: number) => `${pid}\n/elsewhere\n1\n5432\n`],
  ['is empty after a power loss', () => ''],
  ['names a process that is gone', () => '4194304\n/elsewhere\n1\n5432\n'],
])('a postmaster.pid that %s does not hinder the start', async (_, content) => {
  const t = await setup({ begun: true });
  const { uid, gid } = await stat(join(t.dataDir, 'cluster'));
  // Runs as the same user; otherwise postgres itself would see that this can't be a postmaster of the cluster.
  const bystander = spawn('cat', { uid, gid, stdio: ['pipe', 'ignore', 'ignore'] });
  onTestFinished(() => void bystander.kill());
  await once(bystander, 'spawn');
  const path = join(t.dataDir, 'cluster', 'postmaster.pid');
  await writeFile(path, content(bystander.pid ?? 0), { mode: 0o600 });
  await chown(path, uid, gid);

  const database = await t.start();
  expect([...(await t.connect(database.url)`SELECT 1 AS one`)]).toEqual([{ one: 1 }]);
});

test('the data directory of another major version is refused, naming both', async () => {
  const t = await setup({ begun: true });
  await writeFile(join(t.dataDir, 'cluster', 'PG_VERSION'), '17\n');

  await expect(t.start()).rejects.toThrow(/made by PostgreSQL 17.*brings PostgreSQL 18/);
});

test('a copy of the data directory that broke off is told from one of another version', async () => {
  const t = await setup({ begun: true });
  await writeFile(join(t.dataDir, 'cluster', 'PG_VERSION'), '');

  await expect(t.start()).rejects.toThrow(`Restore all of ${t.dataDir} again from the backup.`);
});

test('a second server on the same data directory is refused, in this process or another', async () => {
  const t = await setup({ begun: true });
  const first = await startServerProcess({ dataDir: t.dataDir });
  await expect(t.start()).rejects.toThrow(`process id ${first.child.pid}`);
  await first.kill('SIGTERM');

  await t.start();
  await expect(t.start()).rejects.toThrow(`process id ${process.pid}`);
});

test('a database that is missing is not replaced by an empty one', async () => {
  const t = await setup({ begun: true });
  await rename(join(t.dataDir, 'cluster'), join(t.dataDir, 'elsewhere'));
  await expect(t.start()).rejects.toThrow(/the database that it opens is missing/);

  await rename(join(t.dataDir, 'elsewhere'), join(t.dataDir, 'cluster'));
  const credentials = await readFile(join(t.dataDir, 'credentials.json'));
  await rm(join(t.dataDir, 'credentials.json'));
  await expect(t.start()).rejects.toThrow(/credentials.json.* is missing/);

  await writeFile(join(t.dataDir, 'credentials.json'), credentials);
  await t.start();
});

test('an interrupted creation is repeated', async () => {
  const t = await setup();
  await expect(t.start({ settings: { shared_buffers: 'plenty' } })).rejects.toThrow();
  const path = join(t.dataDir, 'credentials.json');
  const credentials = JSON.parse(await readFile(path, 'utf8'));
  await writeFile(path, JSON.stringify({ ...credentials, initialized: false }));
  await rename(join(t.dataDir, 'cluster'), join(t.dataDir, 'cluster.partial'));

  const database = await t.start();
  expect([...(await t.connect(database.url)`SELECT 1 AS one`)]).toEqual([{ one: 1 }]);
});
