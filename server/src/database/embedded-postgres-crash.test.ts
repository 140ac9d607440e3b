import { execFile } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Sql } from 'postgres';
import { expect, onTestFinished, test } from 'vitest';
import {
  clusterAt,
  isRunning,
  listClusterProcesses,
  signal,
  waitUntilGone,
} from './postgres/cluster-processes.ts';
import { setup, startServerProcess } from './testing/setup.ts';

const run = promisify(execFile);

/** Inserts numbers one by one, each with its own commit, and remembers those that the server acknowledged. */
class Writer {
  readonly acknowledged: number[] = [];
  readonly #sql: Sql;
  #next = 0;

  constructor(sql: Sql) {
    this.#sql = sql;
  }

  async until(count: number): Promise<void> {
    while (this.acknowledged.length < count) {
      const number = this.#next++;
      await this.#sql`INSERT INTO numbers VALUES (${number})`.then(
        () => this.acknowledged.push(number),
        () => {},
      );
    }
  }

  async missing(): Promise<number[]> {
    const rows = await this.#sql<{ number: number }[]>`SELECT number FROM numbers`;
    const stored = new Set(rows.map((row) => row.number));
    return this.acknowledged.filter((number) => !stored.has(number));
  }
}

test('a postmaster killed in mid insert comes back on the same port with every acknowledged commit', async () => {
  const t = await setup({ begun: true });
  const database = await t.start();
  const sql = t.connect(database.url);
  await sql`CREATE TABLE numbers (number integer PRIMARY KEY)`;
  const writer = new Writer(sql);
  await writer.until(200);
  const { url, pid } = database;

  process.kill(pid, 'SIGKILL');
  // A process of the killed postmaster may still answer for a moment.
  while (database.pid === pid) await writer.until(writer.acknowledged.length + 1);
  await writer.until(writer.acknowledged.length + 200);

  expect(await writer.missing()).toEqual([]);
  expect(database.url).toBe(url);
  expect(t.messages.join('\n')).toMatch(/ended unexpectedly: signal SIGKILL\n(.*\n)*.*runs again on port/);
});

test('a postmaster killed seven times in a row, each time as soon as it is ready, comes back each time with every commit', async () => {
  const t = await setup({ begun: true });
  const database = await t.start({ supervisorParts: { pause: async () => {} } });
  const sql = t.connect(database.url);
  await sql`CREATE TABLE numbers (number integer PRIMARY KEY)`;
  const writer = new Writer(sql);
  let isGone = false;
  void database.exited.then(() => {
    isGone = true;
  });
  for (let kills = 0; kills < 7; kills += 1) {
    const { pid } = database;
    process.kill(pid, 'SIGKILL');
    // A process of the killed postmaster may still answer for a moment.
    while (database.pid === pid && !isGone)
      await Promise.race([writer.until(writer.acknowledged.length + 1), database.exited]);
  }
  expect(isGone).toBe(false);
  await writer.until(writer.acknowledged.length + 10);
  expect(await writer.missing()).toEqual([]);
});

test('a postmaster whose server process was killed is adopted, then watched like a child', async () => {
  const t = await setup({ begun: true });
  const killed = await startServerProcess({ dataDir: t.dataDir });
  const before = t.connect(killed.url);
  await before`CREATE TABLE numbers (number integer PRIMARY KEY)`;
  await killed.kill('SIGKILL');

  const database = await t.start();
  expect(database).toMatchObject({ adopted: true, pid: killed.pid, url: killed.url });

  const writer = new Writer(t.connect(database.url));
  await writer.until(100);
  process.kill(database.pid, 'SIGKILL');
  // A process of the killed postmaster may still answer for a moment.
  while (database.pid === killed.pid) await writer.until(writer.acknowledged.length + 1);
  await writer.until(writer.acknowledged.length + 100);
  expect(await writer.missing()).toEqual([]);

  await database.stop();
  expect(await listClusterProcesses(clusterAt(join(t.dataDir, 'cluster')))).toEqual([]);
});

test('a backend that outlived its postmaster commits no more once a new one starts', async () => {
  const t = await setup({ begun: true });
  const killed = await startServerProcess({ dataDir: t.dataDir });
  const sql = t.connect(killed.url);
  await sql`CREATE TABLE numbers (number integer)`;
  // It never waits for the client, so it doesn't notice that its postmaster is gone.
  const loop = sql`DO $$ BEGIN LOOP INSERT INTO numbers VALUES (1); COMMIT; END LOOP; END $$`.catch(() => {});
  const watch = t.connect(killed.url);
  while ((await watch`SELECT FROM numbers LIMIT 1`).length === 0);
  const busy = (
    await watch<{ pid: number }[]>`
    SELECT pid FROM pg_stat_activity WHERE query LIKE 'DO %' AND state = 'active'`
  )[0]?.pid;
  expect(busy).toBeDefined();
  await killed.kill('SIGKILL');
  process.kill(killed.pid, 'SIGKILL');
  expect(await isRunning(busy ?? 0)).toBe(true);

  const database = await t.start();
  await loop;
  expect(await isRunning(busy ?? 0)).toBe(false);
  expect(t.messages.join('\n')).toMatch(new RegExp(`outlived their postmaster: .*${busy}`));
  expect(database.adopted).toBe(false);
  const [row] = await t.connect(database.url)<{ count: number }[]>`SELECT count(*)::int FROM numbers`;
  expect(row?.count).toBeGreaterThan(0);
});

test('starting a copy of a data directory leaves the running original alone', async () => {
  const t = await setup({ begun: true });
  const copy = join(t.folder, 'copy');
  await run('cp', ['-a', t.dataDir, copy]);
  const original = await t.start();
  const sql = t.connect(original.url);
  await sql`SELECT 1`;
  await run('cp', ['-a', join(t.dataDir, 'cluster', 'postmaster.pid'), join(copy, 'cluster')]);

  const database = await t.start({ dataDir: copy });
  expect(database.adopted).toBe(false);
  expect(database.pid).not.toBe(original.pid);
  expect([...(await sql`SELECT 1 AS one`)]).toEqual([{ one: 1 }]);
  expect(t.messages.join('\n')).not.toMatch(/outlived|unexpectedly/);
});

test.skipIf(process.platform !== 'linux')(
  'a backup is not opened while the PostgreSQL of a killed server still runs in the folder that it replaces',
  async () => {
    const t = await setup({ begun: true });
    const backup = join(t.folder, 'backup');
    const lost = join(t.folder, 'data.lost');
    await run('cp', ['-a', t.dataDir, backup]);
    const killed = await startServerProcess({ dataDir: t.dataDir });
    await killed.kill('SIGKILL');
    onTestFinished(() => signal(killed.pid, 'SIGKILL'));
    await run('mv', [t.dataDir, lost]);
    await run('cp', ['-a', backup, t.dataDir]);

    await expect(t.start()).rejects.toThrow(
      `(process id ${killed.pid}) that a killed server left behind still runs in ${lost}/cluster`,
    );
    process.kill(killed.pid, 'SIGQUIT');
    expect(await waitUntilGone([killed.pid], 10_000)).toBe(true);
    const database = await t.start();
    expect(database.adopted).toBe(false);
  },
);

test('failing restarts end with the reason instead of going on forever', async () => {
  const t = await setup({ begun: true });
  const database = await t.start();
  await rm(join(t.dataDir, 'cluster', 'global'), { recursive: true });
  process.kill(database.pid, 'SIGKILL');

  await expect(database.exited).resolves.toMatchObject({
    expected: false,
    reason: expect.stringContaining('did not start'),
  });
  await database.stop();
});
