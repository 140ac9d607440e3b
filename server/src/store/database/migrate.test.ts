import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { blockedBackends } from '../../runs/testing.ts';
import { connect } from './connection.ts';
import { DatabaseRefusalError } from './database-refusal.ts';
import { appliedWords, migrate, readMigrations, serverVersion } from './migrate.ts';
import { setupDatabase } from './testing.ts';

const ours = join(import.meta.dirname, '../../../../migrations');

async function setup() {
  const database = await setupDatabase();
  onTestFinished(() => database.close());
  const { sql } = database;
  return { sql, url: database.url, migrations: await readMigrations(ours) };
}

/** A number that no migration has; some numbers are skipped. */
function numberAfter(migrations: readonly { number: number }[]): number {
  return (migrations.at(-1)?.number ?? 0) + 1;
}

async function folder(names: string[]): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'opsconductor-migrations-'));
  onTestFinished(() => rm(path, { recursive: true }));
  for (const name of names) await writeFile(join(path, name), 'select 1');
  return path;
}

test('a few applied migrations are listed, many are counted', () => {
  expect(appliedWords(['0001_a.sql', '0003_b.sql'])).toBe('Database schema: applied 0001_a.sql, 0003_b.sql');
  expect(appliedWords(['0001_a.sql', '0003_b.sql', '0004_c.sql', '0007_d.sql'])).toBe(
    'Database schema: applied 4 migrations, 0001_a.sql to 0007_d.sql',
  );
});

test('a database that is up to date is left alone', async () => {
  const { sql, migrations } = await setup();
  expect(await migrate(sql, migrations)).toEqual([]);
});

test('of several servers that start at once one migrates, and each finds it done', async () => {
  const { url, migrations } = await setup();
  const next = [
    ...migrations,
    { number: numberAfter(migrations), name: '9999_next.sql', sql: 'create table next ()' },
  ];
  const pools = [1, 2, 3, 4].map(() => connect(url, { max: 1 }));
  onTestFinished(async () => {
    for (const pool of pools) await pool.end();
  });
  const applied = await Promise.all(pools.map((pool) => migrate(pool, next)));
  expect(applied.flat()).toEqual(['9999_next.sql']);
});

test('a time limit that an operator has set for the role does not end a migration, and is back after it', async () => {
  const { sql, url, migrations } = await setup();
  await sql.unsafe(`alter database ${new URL(url).pathname.slice(1)} set statement_timeout = '1h'`);
  const limited = connect(url, { max: 1 });
  onTestFinished(() => limited.end());
  const seeing = `
    create table seen as select current_setting('statement_timeout') as statements,
      current_setting('idle_in_transaction_session_timeout') as transactions`;
  await migrate(limited, [
    ...migrations,
    { number: numberAfter(migrations), name: '9999_seeing.sql', sql: seeing },
  ]);
  expect(await limited`select * from seen`).toEqual([{ statements: '0', transactions: '0' }]);
  expect(await limited`show statement_timeout`).toEqual([{ statementTimeout: '1h' }]);
});

test.each(['LATIN1', 'SQL_ASCII'])(
  'an empty database with encoding %s is refused in words, and stays empty',
  async (encoding) => {
    const { sql, url, migrations } = await setup();
    const name = `${new URL(url).pathname.slice(1)}_${encoding.toLowerCase()}`;
    await sql.unsafe(`create database ${name} encoding '${encoding}' locale 'C' template template0`);
    const other = connect(Object.assign(new URL(url), { pathname: `/${name}` }).href, { max: 1 });
    onTestFinished(async () => {
      await other.end();
      await sql.unsafe(`drop database ${name}`);
    });
    const refusal = await migrate(other, migrations).catch((error: unknown) => error);
    expect(refusal).toBeInstanceOf(DatabaseRefusalError);
    expect(String(refusal)).toMatch(
      new RegExp(`"${name}" has encoding ${encoding}, .* encoding 'UTF8' template`),
    );
    expect(await other`select from pg_tables where schemaname = 'public'`).toEqual([]);
  },
);

test('a migration that fails leaves nothing of itself or of the others', async () => {
  const { sql, migrations } = await setup();
  const number = numberAfter(migrations);
  const bad = [
    ...migrations,
    { number, name: 'good.sql', sql: 'create table half (id integer)' },
    { number: number + 1, name: 'bad.sql', sql: 'create table other (id integer); select nonsense' },
  ];
  await expect(migrate(sql, bad)).rejects.toThrow(/nonsense/);
  const tables = await sql`select tablename from pg_tables where tablename in ('half', 'other')`;
  expect([...tables]).toEqual([]);
  expect(await migrate(sql, migrations)).toEqual([]);
});

test('migrations that the database aborts because of a deadlock with a running server are retried', async () => {
  const { sql, migrations } = await setup();
  // Sequences are not rolled back, so the second try sees that there was a first.
  await sql`create sequence tries`;
  const deadlocked = {
    number: numberAfter(migrations),
    name: 'deadlocked.sql',
    sql: `create table after_all (id integer);
      do $$ begin if nextval('tries') = 1 then raise sqlstate '40P01'; end if; end $$`,
  };
  expect(await migrate(sql, [...migrations, deadlocked])).toEqual(['deadlocked.sql']);
  expect(await sql`select last_value from tries`).toEqual([{ lastValue: 2 }]);
});

test('migrations wait for a step that is being settled, without needing a second try', async () => {
  const { sql, migrations } = await setup();
  await sql.unsafe('drop schema public cascade; create schema public; create sequence tries');
  await migrate(
    sql,
    migrations.filter(({ number }) => number < 52),
  );
  // Locks in the order of settling: runs, target runs, and only then attempts.
  const settle = await sql.reserve();
  onTestFinished(() => settle.release());
  await settle`begin`;
  await settle`select from job_runs for update`;
  await settle`select from job_run_targets for update`;
  // Sequences are not rolled back.
  const counted = { number: 53, name: 'counted.sql', sql: `select nextval('tries')` };
  const inOrder = [...migrations, counted].sort((a, b) => a.number - b.number);
  const migrated = migrate(sql, inOrder);
  await blockedBackends(sql, 1);
  await settle`insert into job_run_step_attempts select * from job_run_step_attempts`;
  await settle`commit`;
  expect(await migrated).toContain('0054_long_histories.sql');
  expect(await sql`select last_value from tries`).toEqual([{ lastValue: 1 }]);
});

test('a server that is too old for the schema refuses, and names the version that it needs', async () => {
  const { sql, migrations } = await setup();
  await sql`
    insert into installation (id, min_server_version, master_key_id, server_key, server_key_sealed)
    values (gen_random_uuid(), ${serverVersion + 1}, 'k', '', '')`;
  await expect(migrate(sql, migrations)).rejects.toThrow(
    `needs server version ${serverVersion + 1} or newer`,
  );
});

test('the previous server version keeps running on a schema that a newer one has extended', async () => {
  const { sql, migrations } = await setup();
  await sql`insert into schema_migrations (number, name) values (${numberAfter(migrations)}, '9999_of_a_newer.sql')`;
  expect(await migrate(sql, migrations)).toEqual([]);
});

test('the database of another product is refused', async () => {
  const { sql, migrations } = await setup();
  await sql`update schema_migrations set name = '0001_something_else.sql' where number = 1`;
  await expect(migrate(sql, migrations)).rejects.toThrow(/different products/);
});

test('migrations are read in the order of their numbers; a number may be skipped but not used twice', async () => {
  const good = await readMigrations(await folder(['0003_c.sql', '0001_a.sql', 'README.md']));
  expect(good.map(({ number, name }) => [number, name])).toEqual([
    [1, '0001_a.sql'],
    [3, '0003_c.sql'],
  ]);
  await expect(readMigrations(await folder(['0001_a.sql', '0001_b.sql']))).rejects.toThrow(
    'the number 1 is taken by 0001_a.sql',
  );
  await expect(readMigrations(await folder(['a.sql']))).rejects.toThrow('four digits');
});

test('a migration that was missing is applied even after ones with higher numbers', async () => {
  const { sql, migrations } = await setup();
  const last = migrations.at(-1)?.number ?? 0;
  const later = { number: last + 2, name: 'later.sql', sql: 'create table later (id int)' };
  expect(await migrate(sql, [...migrations, later])).toEqual(['later.sql']);
  const between = { number: last + 1, name: 'between.sql', sql: 'create table between_them (id int)' };
  expect(await migrate(sql, [...migrations, between, later])).toEqual(['between.sql']);
  expect(await migrate(sql, [...migrations, between, later])).toEqual([]);
});

test('partitions for output are made for yesterday, today and a fortnight ahead, once', async () => {
  const { sql } = await setup();
  const count = async () =>
    (
      await sql<
        { n: number }[]
      >`select count(*)::int as n from pg_inherits where inhparent = 'run_output'::regclass`
    )[0]?.n;
  expect(await count()).toBe(16);
  await sql`select make_output_partitions((now() at time zone 'UTC')::date - 1, 17)`;
  expect(await count()).toBe(17);
});
