import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import type { BinaryConnection } from './binary-connection.ts';
import { connectBinary, sqlState, violatedConstraint } from './connection.ts';
import { isDatabaseLost } from './database-lost.ts';
import { setupDatabase, type TestDatabase } from './testing.ts';

let t: TestDatabase;
let binary: BinaryConnection;
beforeAll(async () => {
  t = await setupDatabase();
  await t.sql`create table pieces (name text constraint one_of_a_name primary key, bytes bytea)`;
  binary = connectBinary(t.sql);
});
afterAll(async () => {
  await binary?.end();
  await t?.close();
});

const insert = 'insert into pieces values ($1, $2::bytea) returning length(bytes)';
const stored = async (name: string) =>
  (await t.sql<{ bytes: Buffer | null }[]>`select bytes from pieces where name = ${name}`)[0]?.bytes;
const backend = async () => Number((await binary.query('select pg_backend_pid()', []))[0]?.[0]);

test('bytes are stored as they are, from as many pieces as they come in', async () => {
  const every = Buffer.from(Array.from({ length: 256 }, (_, value) => value));
  const large = randomBytes(700_000);
  expect(await binary.query(insert, ['pieces', [every, large.subarray(0, 5), large.subarray(5)]])).toEqual([
    ['700256'],
  ]);
  expect(await stored('pieces')).toEqual(Buffer.concat([every, large]));
  await binary.query(insert, ['no piece', []]);
  expect(await stored('no piece')).toEqual(Buffer.alloc(0));
});

test('text and null stand beside them, and fields of rows come as text', async () => {
  await binary.query(insert, ["it's \\ ünicode\n", null]);
  const rows = await binary.query(
    "select name, bytes, 7 from pieces where name like 'it%' union all select $1, $2::bytea, null",
    ['none', [Buffer.from([0, 255])]],
  );
  expect(rows).toEqual([
    ["it's \\ ünicode\n", null, '7'],
    ['none', '\\x00ff', null],
  ]);
});

test('many rows and long ones come whole', async () => {
  const rows = await binary.query("select n, repeat('x', $1::int) from generate_series(1, 300) n", ['5000']);
  expect(rows.map(([n, text]) => [n, text?.length])).toEqual(
    Array.from({ length: 300 }, (_, n) => [`${n + 1}`, 5000]),
  );
});

test('what the database refuses is told as the driver tells it, and the next statement is not touched', async () => {
  await binary.query(insert, ['twice', null]);
  const refused = await binary.query(insert, ['twice', null]).catch((error: unknown) => error);
  expect(sqlState(refused)).toBe('23505');
  expect(violatedConstraint(refused)).toBe('one_of_a_name');
  await expect(binary.query('select 1 from nowhere', [])).rejects.toThrow(
    'relation "nowhere" does not exist',
  );
  expect(await binary.query('select 1', [])).toEqual([['1']]);
});

test('statements that are asked at once are answered each with its own', async () => {
  const asked = Array.from({ length: 20 }, (_, n) => binary.query('select $1::int + 1', [String(n)]));
  expect(await Promise.all(asked)).toEqual(asked.map((_, n) => [[String(n + 1)]]));
});

test('a statement whose plan a change of its table has made impossible runs again after it has failed once', async () => {
  await t.sql`create table growing (a int)`;
  await t.sql`insert into growing values (1)`;
  const read = () => binary.query('select * from growing', []);
  expect(await read()).toEqual([['1']]);
  await t.sql`alter table growing add column b int default 2`;
  await expect(read()).rejects.toThrow('cached plan must not change result type');
  expect(await read()).toEqual([['1', '2']]);
});

test('a connection that is lost in the middle is told as lost, and the next statement has another one', async () => {
  const pid = await backend();
  const interrupted = binary.query('select pg_sleep(60)', []).catch((error: unknown) => error);
  await vi.waitFor(async () => {
    const rows = await t.sql`select from pg_stat_activity where pid = ${pid} and wait_event = 'PgSleep'`;
    expect(rows).toHaveLength(1);
  });
  const next = backend();
  await t.sql`select pg_terminate_backend(${pid})`;
  expect(isDatabaseLost(await interrupted)).toBe(true);
  expect(await next).not.toBe(pid);
});

test('one that was lost while nobody asked is dialled anew', async () => {
  const pid = await backend();
  await t.sql`select pg_terminate_backend(${pid}, 10000)`;
  expect(await vi.waitFor(backend)).not.toBe(pid);
  expect(await binary.query('select 1', [])).toEqual([['1']]);
});
