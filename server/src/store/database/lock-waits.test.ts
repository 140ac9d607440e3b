import { expect, onTestFinished, test } from 'vitest';
import { blockedBackends } from '../../runs/testing.ts';
import { connect, type Sql } from './connection.ts';
import { readLockWaits } from './lock-waits.ts';
import { setupDatabase } from './testing.ts';

async function setup() {
  const database = await setupDatabase();
  const pools: Sql[] = [];
  onTestFinished(async () => {
    for (const pool of pools) await pool.end({ timeout: 0 });
    await database.close();
  });
  return {
    sql: database.sql,
    /** A session that is nobody's server, in a transaction with this statement. */
    async other(application: string) {
      const sql = connect(database.url, { max: 1 });
      pools.push(sql);
      await sql`select set_config('application_name', ${application}, false)`;
      const [row] = await sql<{ pid: number }[]>`select pg_backend_pid() as pid`;
      return { sql, pid: row?.pid };
    },
  };
}

test('who holds a lock that statements of servers wait for is found behind those who wait for it, too', async () => {
  const t = await setup();
  const forgotten = await t.other('psql');
  const rewriting = await t.other('nightly');
  await forgotten.sql`begin`;
  await forgotten.sql`select count(*) from jobs`;
  expect(await readLockWaits(t.sql, 0)).toBeUndefined();
  await rewriting.sql`begin`;
  const rewritten = rewriting.sql`lock table jobs`.then(() => rewriting.sql`rollback`);
  await blockedBackends(t.sql, 1);
  // Only those of others wait.
  expect(await readLockWaits(t.sql, 0)).toBeUndefined();
  const ours = [1, 2].map(() => t.sql`select count(*) from jobs`.then(() => undefined));
  await blockedBackends(t.sql, 3);
  expect(await readLockWaits(t.sql, 0)).toMatchObject({
    holders: [
      {
        pid: forgotten.pid,
        user: expect.stringMatching(/./),
        application: 'psql',
        state: 'idle in transaction',
        transactionSince: expect.any(Date),
      },
    ],
    statements: 2,
  });
  expect(await readLockWaits(t.sql, 3_600_000)).toBeUndefined();
  await forgotten.sql`rollback`;
  await Promise.all([rewritten, ...ours]);
  expect(await readLockWaits(t.sql, 0)).toBeUndefined();
});

test('a server that waits for another one is none of it', async () => {
  const t = await setup();
  let waiting: Promise<unknown> | undefined;
  await t.sql.begin(async (tx) => {
    await tx`lock table jobs`;
    waiting = t.sql`select count(*) from jobs`.then(() => undefined);
    await blockedBackends(t.sql, 1);
    expect(await readLockWaits(t.sql, 0)).toBeUndefined();
  });
  await waiting;
});
