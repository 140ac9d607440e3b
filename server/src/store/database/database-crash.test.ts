// A database that dies and comes back, under a pool and a listener that stay.
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { startEmbeddedPostgres } from '../../database/embedded-postgres.ts';
import { copyBegunData } from '../../database/testing/begun-data.ts';
import { connect } from './connection.ts';
import { DatabaseLost } from './database-lost.ts';
import { listen } from './notifications.ts';

async function setup() {
  const folder = await mkdtemp(join(tmpdir(), 'opsconductor-lost-'));
  // Under root, PostgreSQL runs as another account and would otherwise be placed outside.
  await chmod(folder, 0o755);
  const dataDir = join(folder, 'postgres');
  await copyBegunData(dataDir);
  const database = await startEmbeddedPostgres({ dataDir, log: () => {} });
  const sql = connect(database.url, { max: 6 });
  onTestFinished(async () => {
    await sql.end({ timeout: 1 });
    await database.stop();
    await rm(folder, { recursive: true, force: true });
  });
  await sql`create table counters (id integer primary key, n integer not null)`;
  await sql`insert into counters select id, 0 from generate_series(1, 6) id`;
  return { database, sql };
}

function makeGate<T>(): { promise: Promise<T>; resolve(value: T): void } {
  let resolve: (value: T) => void = () => undefined;
  const promise = new Promise<T>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}

test('after each crash every query and transaction under way has ended, and new ones are served', async () => {
  const { database, sql } = await setup();
  let stopped = false;
  let served = 0;
  const keepOn = async (work: () => Promise<unknown>) => {
    while (!stopped) {
      await work().then(
        () => {
          served += 1;
        },
        // Like a caller who retries; the next iteration is a new call.
        () => new Promise((next) => setTimeout(next, 5)),
      );
    }
  };
  const add = (id: number) => sql`update counters set n = n + 1 where id = ${id}`;
  const working = [1, 2, 3, 4].flatMap((id) => [
    keepOn(() => sql`select ${id}::integer`),
    keepOn(() =>
      sql.begin(async (tx) => [await tx`select 1`, await tx`select ${'x'.repeat(100_000)}::text`]),
    ),
    keepOn(() =>
      sql.begin((tx) => [tx`select 1`, tx`select 2`, tx`update counters set n = n + 1 where id = ${id}`]),
    ),
    keepOn(() => add(id)),
  ]);
  for (let crash = 0; crash < 3; crash += 1) {
    const before = served;
    await expect.poll(() => served, { timeout: 20_000 }).toBeGreaterThan(before + 500);
    process.kill(database.pid, 'SIGKILL');
  }
  const before = served;
  await expect.poll(() => served, { timeout: 20_000 }).toBeGreaterThan(before + 500);
  stopped = true;
  // Each loop ends only once everything it waits for has ended.
  await Promise.all(working);
});

test('an interrupted transaction is rolled back, and its later statements reach no other transaction', async () => {
  const { sql } = await setup();
  const [self] = await sql<{ pid: number }[]>`select pg_backend_pid() as pid`;
  expect(self?.pid).toBeGreaterThan(0);
  const cut = sql.begin(async (tx) => {
    const [own] = await tx<{ pid: number }[]>`select pg_backend_pid() as pid`;
    await tx`update counters set n = n + 1 where id = 1`;
    await sql`select pg_terminate_backend(${own?.pid ?? 0})`;
    await tx`update counters set n = n + 1 where id = 2`;
    await tx`update counters set n = n + 1 where id = 3`;
  });
  await expect(cut).rejects.toThrow();
  await sql.begin((tx) => [tx`update counters set n = n + 10 where id = 4`, tx`select 1`]);
  const rows = await sql<{ n: number }[]>`select n from counters where id <= 4 order by id`;
  expect(rows.map((row) => row.n)).toEqual([0, 0, 0, 10]);
});

test.each(['sends more', 'fails', 'ends well'])(
  'a transaction that %s long after its connection was closed does not affect the one that has the connection then',
  async (what) => {
    const { database } = await setup();
    const sql = connect(database.url, { max: 1 });
    onTestFinished(() => sql.end({ timeout: 1 }));
    const gate = makeGate<void>();
    const said = makeGate<unknown>();
    const cut = sql.begin(async (tx) => {
      const [own] = await tx<{ pid: number }[]>`select pg_backend_pid() as pid`;
      process.kill(own?.pid ?? 0, 'SIGTERM');
      await gate.promise;
      if (what === 'fails') throw new Error('for a reason of its own');
      if (what === 'ends well') return;
      // Contains a fragment, which nothing awaits by itself.
      await tx`update counters set n = n + 1 where ${tx`id = 2`}`.then(said.resolve, said.resolve);
    });
    await expect(cut).rejects.toThrow();
    await sql.begin(async (tx) => {
      await tx`update counters set n = n + 10 where id = 1`;
      gate.resolve();
      if (what === 'sends more') expect(await said.promise).toBeInstanceOf(DatabaseLost);
      // Answered after anything else that was sent on this connection meanwhile.
      for (let turn = 0; turn < 3; turn += 1) await tx`select 1`;
    });
    const rows = await sql<{ n: number }[]>`select n from counters where id <= 2 order by id`;
    expect(rows.map((row) => row.n)).toEqual([10, 0]);
  },
);

test('the bus is heard again after a crash, and every listener is told to resync', async () => {
  const { database, sql } = await setup();
  const heard: number[] = [];
  let resyncs = 0;
  const listener = await listen(sql, {
    progress: () => undefined,
    output: () => undefined,
    session: () => undefined,
    segment: (id) => heard.push(id),
    scans: () => undefined,
    transfers: () => undefined,
    forget: () => undefined,
    asked: () => undefined,
    answered: () => undefined,
    resync: () => {
      resyncs += 1;
    },
  });
  onTestFinished(() => listener.stop());
  await sql`select pg_notify('opsc_segment', '1')`;
  await expect.poll(() => heard).toEqual([1]);
  for (const crash of [2, 3]) {
    process.kill(database.pid, 'SIGKILL');
    await expect.poll(() => resyncs, { timeout: 20_000 }).toBe(crash - 1);
    await expect
      .poll(
        () =>
          sql`select pg_notify('opsc_segment', ${String(crash)})`.then(
            () => true,
            () => false,
          ),
        { timeout: 20_000 },
      )
      .toBe(true);
    await expect.poll(() => heard.at(-1)).toBe(crash);
  }
});
