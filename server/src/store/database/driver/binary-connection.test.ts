import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { afterAll, beforeAll, expect, onTestFinished, test, vi } from 'vitest';
import { connect, connectBinary, sqlState, violatedConstraint } from '../connection.ts';
import { isDatabaseLost } from '../database-lost.ts';
import { setupDatabase, type TestDatabase } from '../testing.ts';
import { type BinaryConnection, NotDialled } from './binary-connection.ts';
import { DriverSocket } from './driver-socket.ts';

/** Waits for a database that has much to do. */
const patient = { dialMs: 30_000 };

let t: TestDatabase;
let binary: BinaryConnection;
beforeAll(async () => {
  t = await setupDatabase();
  await t.sql`create table pieces (name text constraint one_of_a_name primary key, bytes bytea)`;
  binary = connectBinary(t.sql, patient);
});
afterAll(async () => {
  await binary?.end();
  await t?.close();
});

const insert = 'insert into pieces values ($1, $2::bytea) returning length(bytes)';
const stored = async (name: string) =>
  (await t.sql<{ bytes: Buffer | null }[]>`select bytes from pieces where name = ${name}`)[0]?.bytes;
const backend = async () => Number((await binary.query('select pg_backend_pid()', []))[0]?.[0]);

test('bytes are stored as they are, from any number of pieces', async () => {
  const every = Buffer.from(Array.from({ length: 256 }, (_, value) => value));
  const large = randomBytes(700_000);
  expect(await binary.query(insert, ['pieces', [every, large.subarray(0, 5), large.subarray(5)]])).toEqual([
    ['700256'],
  ]);
  expect(await stored('pieces')).toEqual(Buffer.concat([every, large]));
  await binary.query(insert, ['no piece', []]);
  expect(await stored('no piece')).toEqual(Buffer.alloc(0));
});

test('text and null can be sent along with bytes, and fields of rows come back as text', async () => {
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

test('many rows and long rows arrive complete', async () => {
  const rows = await binary.query("select n, repeat('x', $1::int) from generate_series(1, 300) n", ['5000']);
  expect(rows.map(([n, text]) => [n, text?.length])).toEqual(
    Array.from({ length: 300 }, (_, n) => [`${n + 1}`, 5000]),
  );
});

test('what the database refuses is reported as the driver reports it, and does not affect the next statement', async () => {
  await binary.query(insert, ['twice', null]);
  const refused = await binary.query(insert, ['twice', null]).catch((error: unknown) => error);
  expect(sqlState(refused)).toBe('23505');
  expect(violatedConstraint(refused)).toBe('one_of_a_name');
  await expect(binary.query('select 1 from nowhere', [])).rejects.toThrow(
    'relation "nowhere" does not exist',
  );
  expect(await binary.query('select 1', [])).toEqual([['1']]);
});

test('statements sent at the same time each get their own answer', async () => {
  const asked = Array.from({ length: 20 }, (_, n) => binary.query('select $1::int + 1', [String(n)]));
  expect(await Promise.all(asked)).toEqual(asked.map((_, n) => [[String(n + 1)]]));
});

test('a statement whose cached plan was invalidated by a change of its table fails once, then runs again', async () => {
  await t.sql`create table growing (a int)`;
  await t.sql`insert into growing values (1)`;
  const read = () => binary.query('select * from growing', []);
  expect(await read()).toEqual([['1']]);
  await t.sql`alter table growing add column b int default 2`;
  await expect(read()).rejects.toThrow('cached plan must not change result type');
  expect(await read()).toEqual([['1', '2']]);
});

test('a connection that is lost in the middle is reported as lost, and the next statement gets another one', async () => {
  const pid = await backend();
  const interrupted = binary.query('select pg_sleep(60)', []).catch((error: unknown) => error);
  await vi.waitFor(
    async () => {
      const rows = await t.sql`select from pg_stat_activity where pid = ${pid} and wait_event = 'PgSleep'`;
      expect(rows).toHaveLength(1);
    },
    { timeout: 10_000 },
  );
  const next = backend();
  await t.sql`select pg_terminate_backend(${pid})`;
  expect(isDatabaseLost(await interrupted)).toBe(true);
  expect(await next).not.toBe(pid);
});

test('a connection that was lost while idle is dialed again', async () => {
  const pid = await backend();
  const lost = vi.spyOn(DriverSocket.prototype, 'emit');
  await t.sql`select pg_terminate_backend(${pid}, 10000)`;
  await vi.waitFor(() => expect(lost).toHaveBeenCalledWith('error', expect.anything()), { timeout: 10_000 });
  lost.mockRestore();
  expect(await backend()).not.toBe(pid);
});

test('statements that fail again and again leave nothing behind in the database', async () => {
  const prepared = async () =>
    Number((await binary.query('select count(*) from pg_prepared_statements', []))[0]?.[0]);
  await binary.query(insert, ['once more', null]);
  const before = await prepared();
  for (let n = 0; n < 3; n += 1) {
    await expect(binary.query(insert, ['once more', null])).rejects.toThrow('duplicate key');
    await expect(binary.query('select 1 from nowhere', [])).rejects.toThrow('does not exist');
    await expect(binary.query("select 'x'::text::int + $1::int", ['1'])).rejects.toThrow('invalid input');
  }
  // This statement itself, and the last of the failing ones.
  expect(await prepared()).toBeLessThanOrEqual(before + 2);
});

test('a statement that another one has deallocated fails once, then runs again', async () => {
  const read = () => binary.query('select 5', []);
  await read();
  await binary.query('deallocate all', []);
  await expect(read()).rejects.toMatchObject({ code: '26000' });
  expect(await read()).toEqual([['5']]);
});

test('ending the connection waits two seconds for a running statement, then cuts it off', async () => {
  const other = connectBinary(t.sql, patient);
  const slow = other.query('select pg_sleep(60)', []).catch((error: unknown) => error);
  await vi.waitFor(
    async () =>
      expect(
        await t.sql`
          select from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'`,
      ).toHaveLength(1),
    { timeout: 10_000 },
  );
  await other.end();
  expect(isDatabaseLost(await slow)).toBe(true);
});

/** Terminate; it gets no answer. */
const goodbye = 'X'.charCodeAt(0);
/** An error; this server sends nothing after one. */
const fatal = 'E'.charCodeAt(0);

/** A server of the protocol that sends the given pieces, one after each message it receives. */
async function serverThatSays(
  pieces: Buffer[],
  onNotDialled: (cause: unknown) => void = () => {},
  { notBefore = Promise.resolve(), ...more }: { notBefore?: Promise<void>; dialMs?: number } = patient,
) {
  const server = createServer((socket) => {
    const say = (piece: Buffer = Buffer.alloc(0)) =>
      piece[0] === fatal ? socket.end(piece) : socket.write(piece);
    socket
      .on('error', () => {})
      .on('data', ([type]) => void notBefore.then(() => type === goodbye || say(pieces.shift())));
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  onTestFinished(() => void server.close());
  const sql = connect(`postgres://u:p@127.0.0.1:${(server.address() as AddressInfo).port}/d`, { max: 1 });
  const other = connectBinary(sql, { onNotDialled, ...more });
  onTestFinished(() => other.end());
  return other;
}

const message = (type: string, body: Buffer | string = '') => {
  const bytes = Buffer.from(body as string, 'latin1');
  const head = Buffer.alloc(5);
  head.write(type, 'latin1');
  head.writeInt32BE(bytes.length + 4, 1);
  return Buffer.concat([head, bytes]);
};
const ready = message('Z', 'I');
const begun = Buffer.concat([message('R', Buffer.alloc(4)), ready]);
const dialled = Buffer.concat([
  ...[
    message('1'),
    message('t', Buffer.alloc(2)),
    message('T', Buffer.alloc(2)),
    message('2'),
    message('C', 'SELECT 1\0'),
    ready,
  ],
]);
const answered = Buffer.concat([
  message('1'),
  message('2'),
  message('D', '\0\x01\0\0\0\x01a'),
  message('C', 'SELECT 1\0'),
  ready,
]);
const notice = message('N', `SWARNING\0VWARNING\0M${'D\0\0\0\x06\0\x03'.repeat(9)}\0\0`);

test('without a connection no statement was sent; this is reported once, and dialing is tried again after a while', async () => {
  const causes: unknown[] = [];
  const refusal = message('E', 'SFATAL\0VFATAL\0C53300\0Mtoo many connections\0\0');
  const other = await serverThatSays([refusal, refusal, begun, dialled, answered], (cause) =>
    causes.push(cause),
  );
  // The pause is counted from the refusal.
  const now = vi.spyOn(performance, 'now').mockReturnValue(performance.now());
  onTestFinished(() => now.mockRestore());
  await other.open();
  await expect(other.query('a', [])).rejects.toBeInstanceOf(NotDialled);
  now.mockReturnValue(performance.now() + 2_001);
  await expect(other.query('a', [])).rejects.toBeInstanceOf(NotDialled);
  expect(causes).toMatchObject([{ code: '53300' }]);
  now.mockReturnValue(performance.now() + 2_001);
  expect(await other.query('a', [])).toEqual([['a']]);
});

test('only one statement waits for a slow dial, and the connection is used once it is there', async () => {
  const causes: unknown[] = [];
  let come = () => {};
  const late = new Promise<void>((resolve) => {
    come = resolve;
  });
  const other = await serverThatSays([begun, dialled, dialled, answered], (cause) => causes.push(cause), {
    notBefore: late,
  });
  await expect(other.query('a', [])).rejects.toBeInstanceOf(NotDialled);
  const now = vi.spyOn(performance, 'now').mockReturnValue(performance.now() + 10_000);
  onTestFinished(() => now.mockRestore());
  await expect(other.query('a', [])).rejects.toBeInstanceOf(NotDialled);
  expect(causes).toHaveLength(1);
  come();
  expect(await vi.waitFor(() => other.query('a', []), { timeout: 10_000 })).toEqual([['a']]);
});

test('a partial message after an answer ends the connection rather than being taken for the next answer', async () => {
  for (const at of [3, 5, 30, notice.indexOf('D\0\0\0')]) {
    const other = await serverThatSays([
      begun,
      dialled,
      Buffer.concat([answered, notice.subarray(0, at)]),
      begun,
      dialled,
      answered,
    ]);
    expect(await other.query('a', [])).toEqual([['a']]);
    await expect(other.query('b', [])).rejects.toSatisfy(isDatabaseLost);
    expect(await other.query('c', [])).toEqual([['a']]);
  }
});

test('anything that is not an answer ends the connection', async () => {
  const other = await serverThatSays([begun, dialled, message('D', '\0\x09short'), begun, dialled, answered]);
  await expect(other.query('a', [])).rejects.toSatisfy(isDatabaseLost);
  expect(await other.query('b', [])).toEqual([['a']]);
});
