import { randomBytes } from 'node:crypto';
import { resolve } from 'node:path';
import { expect, test } from 'vitest';
import {
  blockedBackends,
  endOf,
  holdTransaction,
  setupRuns,
  success,
  type TestRuns,
} from '../../runs/testing.ts';
import { connect, type Sql, type Tx } from '../../store/database/connection.ts';
import { migrate, readMigrations } from '../../store/database/migrate.ts';
import { setupDatabase } from '../../store/database/testing.ts';
import { insertInstallation } from '../../store/installation/installation.ts';
import { copyDatabase } from './copy-database.ts';
import { runMoveCommand } from './move-command.ts';

const migrations = resolve(import.meta.dirname, '../../../../migrations');

interface Move extends AsyncDisposable {
  from: TestRuns;
  /** New and empty. */
  to: Sql;
  /** Name of the new one. */
  name: string;
  said: string[];
  marked: string[];
  move(): Promise<number>;
}

async function setup(options = ''): Promise<Move> {
  const database = await setupDatabase();
  const from = await setupRuns(Promise.resolve(database));
  await insertInstallation(from.sql, {
    id: from.identity.installationId,
    masterKeyId: from.masterKey.id,
    serverKey: Buffer.alloc(32),
    serverKeySealed: Buffer.from('sealed'),
  });
  const name = `opsc_move_${randomBytes(6).toString('hex')}`;
  await from.sql.unsafe(`create database ${name} ${options}`);
  const to = connect(Object.assign(new URL(database.url), { pathname: `/${name}` }).href, { max: 2 });
  const said: string[] = [];
  const marked: string[] = [];
  return {
    from,
    to,
    name,
    said,
    marked,
    move: () =>
      runMoveCommand({
        from: from.sql,
        to,
        where: 'db.example.net:5432/ops',
        migrations,
        say: (text) => said.push(text),
        markMoved: async () => {
          marked.push('marked');
        },
        lookMs: 0,
      }),
    async [Symbol.asyncDispose]() {
      // After a lost connection the driver would wait for it.
      await to.end({ timeout: 1 });
      await from.sql.unsafe(`drop database ${name} with (force)`);
      await from[Symbol.asyncDispose]();
    },
  };
}

/** Every row of every table, in an order that does not depend on where it is stored. */
async function contentsOf(sql: Sql): Promise<Record<string, unknown[]>> {
  const tables = await sql<{ name: string }[]>`
    select relname as name from pg_class
     where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') and not relispartition
       and relname <> 'schema_migrations' order by relname`;
  const contents: Record<string, unknown[]> = {};
  for (const { name } of tables) {
    contents[name] = await sql.unsafe(`select to_jsonb(t) as row from ${name} t order by to_jsonb(t)::text`);
  }
  return contents;
}

test('everything is in the new database, and work goes on there', async () => {
  await using m = await setup();
  const { from, to } = m;
  const runId = await from.start({ steps: 2 });
  await from.settle(endOf(await from.claimOne(), success));
  await from.sql`create table run_output_20200102 partition of run_output
    for values from ('2020-01-02') to ('2020-01-03')`;
  await from.sql`
    insert into run_output (attempt_day, job_run_step_id, epoch, seq, stream, elapsed_ms, raw_length, sha256, sealed)
    select '2020-01-02', id, 1, 1, 1, 5, 3, ${Buffer.alloc(32, 7)}, ${Buffer.from([0, 9, 10, 92, 255])}
      from job_run_steps where job_run_id = ${runId} and step_number = 1`;
  const before = await contentsOf(from.sql);
  expect(await m.move(), m.said.join('\n')).toBe(0);
  expect(m.marked).toEqual(['marked']);
  expect(m.said.join('\n')).toMatch(/Copied and compared: [\d,]+ rows in \d+ tables\.\nStart the servers/);
  const after = await contentsOf(to);
  // The move itself is recorded in the new one.
  const moved = await to`select action, detail from audit_log where action = 'installation.moved'`;
  expect(moved).toMatchObject([
    { detail: { to: 'db.example.net:5432/ops', rows: expect.any(Number), touchedAt: expect.any(String) } },
  ]);
  for (const table of Object.keys(before)) {
    if (table === 'audit_unsealed' || table === 'audit_log') {
      expect(after[table], table).toEqual(expect.arrayContaining(before[table] ?? []));
    } else expect(after[table], table).toEqual(before[table]);
  }
  expect(before.run_output).toHaveLength(1);

  // Numbers go on, rows refer to each other, and the log still refuses changes.
  const [next] = await to<{ id: number }[]>`select nextval(pg_get_serial_sequence('job_runs', 'id')) as id`;
  expect(next?.id).toBe(runId + 1);
  await expect(to`delete from jobs`).rejects.toThrow(/foreign key/);
  await expect(to`update audit_log set action = 'x'`).rejects.toThrow();
  const definitions = (sql: Sql) => sql`
    select conrelid::regclass::text as table, pg_get_constraintdef(oid) as what, convalidated::text as state
      from pg_constraint where connamespace = 'public'::regnamespace and conparentid = 0 and not conrelid::regclass::text like 'run_output_2%'
     union all select tgrelid::regclass::text, tgname, tgenabled::text
      from pg_trigger where not tgisinternal and tgparentid = 0 order by 1, 2`;
  expect(await definitions(to)).toEqual(await definitions(from.sql));
});

/** Fills a table with more than the streams between the two databases hold at once. */
async function fillOutput(sql: Sql, rows: number): Promise<void> {
  await sql`
    insert into run_output (attempt_day, job_run_step_id, epoch, seq, stream, elapsed_ms, raw_length, sha256, sealed)
    select current_date, 1, 1, n, 1, 5, 3, ${Buffer.alloc(32, 7)}, ${Buffer.alloc(20_000, 9)}
      from generate_series(1, ${rows}::int) n`;
}

test('tables that are larger than what is read ahead arrive as they are', async () => {
  await using m = await setup();
  await fillOutput(m.from.sql, 300);
  expect(await m.move(), m.said.join('\n')).toBe(0);
  expect((await m.to`select count(*)::int as rows from run_output`)[0]).toEqual({ rows: 300 });
});

test('a connection that is lost in the middle ends the move, and leaves nothing behind', async () => {
  await using m = await setup();
  await fillOutput(m.from.sql, 300);
  const release = await holdTransaction(m.from.sql, (tx) => tx`lock table users in access exclusive mode`);
  const moved = m.move();
  await blockedBackends(m.from.sql, 1);
  await m.from.sql`
    select pg_terminate_backend(pid) from pg_stat_activity where datname = ${m.name} and state = 'idle in transaction'`;
  await release();
  await expect(moved).rejects.toThrow();
  expect(m.marked).toEqual([]);
  expect(await m.to`select id from users`).toEqual([]);
  expect(await m.move(), m.said.join('\n')).toBe(0);
});

test('rows that the new database refuses after all have been sent end the move, with what it said', async () => {
  await using m = await setup();
  await m.from.start();
  await migrate(m.to, await readMigrations(migrations));
  await m.to`alter table categories add constraint refused check (name = 'none') not valid`;
  await expect(m.move()).rejects.toThrow(/refused/);
  expect(m.marked).toEqual([]);
  expect(await m.to`select id from jobs`).toEqual([]);
});

test('a large table that is refused in the middle ends the move, too', async () => {
  await using m = await setup();
  await fillOutput(m.from.sql, 1_000);
  await migrate(m.to, await readMigrations(migrations));
  await m.to`alter table run_output add constraint refused check (seq < 10) not valid`;
  await expect(m.move()).rejects.toThrow(/refused/);
  expect(m.marked).toEqual([]);
  await m.to`alter table run_output drop constraint refused`;
  expect(await m.move(), m.said.join('\n')).toBe(0);
});

test('time limits of the connection or the role do not end a move', async () => {
  await using m = await setup();
  await migrate(m.to, await readMigrations(migrations));
  const left = await m.to.begin(async (tx) => {
    await tx`set local statement_timeout = '1h'`;
    await copyDatabase(m.from.sql, tx as unknown as Tx, () => undefined);
    return tx`
      select name, setting from pg_settings
       where name in ('statement_timeout', 'idle_in_transaction_session_timeout') order by name`;
  });
  expect(left).toEqual([
    { name: 'idle_in_transaction_session_timeout', setting: '0' },
    { name: 'statement_timeout', setting: '0' },
  ]);
});

test('a database that has anything is left as it is', async () => {
  await using m = await setup();
  await m.to`create table notes (text text)`;
  expect(await m.move()).toBe(1);
  expect(m.said).toEqual([expect.stringContaining('db.example.net:5432/ops is not empty')]);
  expect(await m.to`select relname from pg_class where relname = 'jobs'`).toEqual([]);
  expect(m.marked).toEqual([]);
});

test('a database with an installation is left as it is, also if the old one was moved there but went on', async () => {
  await using m = await setup();
  expect(await m.move()).toBe(0);
  await m.from.start();
  await m.from.sql`update cluster_clock set touched_at = clock_timestamp()`;
  expect(await m.move()).toBe(1);
  expect(m.said.at(-1)).toContain('is not empty');
  expect(await m.to`select id from job_runs`).toEqual([]);
  expect(m.marked).toEqual(['marked']);
});

test('a move that was ended before it had marked the old database is completed by the next one', async () => {
  await using m = await setup();
  expect(await m.move()).toBe(0);
  m.marked.length = 0;
  // A server may have worked on the new one already.
  await m.to`update cluster_clock set touched_at = clock_timestamp()`;
  expect(await m.move(), m.said.join('\n')).toBe(0);
  expect(m.said.at(-2)).toContain('has everything already');
  expect(m.marked).toEqual(['marked']);
});

test('a database that can not hold every text, or whose tables would be elsewhere, is refused with what to do', async () => {
  await using ascii = await setup(`encoding 'SQL_ASCII' locale 'C' template template0`);
  expect(await ascii.move()).toBe(1);
  expect(ascii.said).toEqual([expect.stringMatching(/has encoding SQL_ASCII\. Make one with UTF8/)]);
  await using own = await setup();
  await own.to`create schema ${own.to((await own.to`select current_user::text as name`)[0]?.name)}`;
  expect(await own.move()).toBe(1);
  expect(own.said).toEqual([expect.stringMatching(/in schema \w+\. Make public the first schema/)]);
  for (const { to } of [ascii, own])
    expect(await to`select relname from pg_class where relname = 'jobs'`).toEqual([]);
});

test('what an extension has put into a new database does not count', async () => {
  await using m = await setup();
  await m.to`create table tracked (n int)`;
  await m.to`create view statements as select 1 as n`;
  await m.to`create extension pg_trgm`;
  await m.to`alter extension pg_trgm add table tracked`;
  await m.to`alter extension pg_trgm add view statements`;
  expect(await m.move(), m.said.join('\n')).toBe(0);
  expect(await m.to`select n from statements`).toEqual([{ n: 1 }]);
});

test('what does not arrive as it was leaves nothing behind, and the move can be done again', async () => {
  await using m = await setup();
  await m.from.start();
  await migrate(m.to, await readMigrations(migrations));
  // It takes every row, but fills what it stores with spaces.
  await m.to`alter table categories alter column name type char(200)`;
  await expect(m.move()).rejects.toThrow(/Of table categories, .* nothing was moved/);
  expect(await m.to`select id from jobs`).toEqual([]);
  expect(m.marked).toEqual([]);
  await m.to`alter table categories alter column name type text`;
  expect(await m.move()).toBe(0);
});

test('databases that have not the same columns are not copied', async () => {
  await using m = await setup();
  await m.from.sql`alter table categories add column extra text default 'x'`;
  await expect(m.move()).rejects.toThrow(/different tables or columns/);
  expect(await m.to`select id from jobs`).toEqual([]);
});

test('an empty installation has nothing to move', async () => {
  await using m = await setup();
  await m.from.sql`truncate installation cascade`;
  expect(await m.move()).toBe(1);
  expect(m.said).toEqual([expect.stringContaining('no installation in the embedded database')]);
});
