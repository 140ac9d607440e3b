import { createServer } from 'node:net';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { connect } from './connection.ts';
import { DatabaseLost } from './database-lost.ts';
import { DatabaseRefusalError, databaseRefusal } from './database-refusal.ts';
import { setupDatabase, type TestDatabase } from './testing.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await setupDatabase({ max: 1 });
});
afterAll(() => database.close());

/** Returns what is reported about `statement` on the suite's database with a changed address. */
async function saidOf(change: (url: URL) => void, statement = 'select 1'): Promise<string> {
  const url = new URL(database.url);
  change(url);
  const sql = connect(url.href, { max: 1 });
  onTestFinished(() => sql.end({ timeout: 0 }));
  const refusal = await sql.unsafe(statement).then(
    () => undefined,
    (error: unknown) => databaseRefusal(error, url.href),
  );
  expect(refusal).toBeInstanceOf(DatabaseRefusalError);
  const said = (refusal as Error).message;
  expect(said).not.toContain(decodeURIComponent(url.password));
  return said;
}

/** Returns a port where something listens that closes every connection. */
async function portOfAnother(): Promise<string> {
  const server = createServer((socket) => socket.destroy());
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  onTestFinished(() => new Promise<void>((done) => void server.close(() => done())));
  return String((server.address() as { port: number }).port);
}

test('the message about a wrong password names the user and says how to write a password in a URL', async () => {
  const said = await saidOf((url) => {
    url.password = 'not-the-password';
  });
  expect(said).toMatch(/refused the password of user "\w+"\. Check DATABASE_URL; .*%40/);
});

test('a missing database is named, with the statement that creates it', async () => {
  const said = await saidOf((url) => {
    url.pathname = '/not_there';
  });
  expect(said).toMatch(/has no database "not_there"\. .*create database "not_there" owner "\w+"\.$/);
});

test.each([
  [
    '42501',
    /^User "\w+" may not do in database "\w+" what the schema needs: said by the test\. .*owner to "\w+"/,
  ],
  [
    '3F000',
    /^Database "\w+" has no schema in which user "\w+" could make tables: said by the test\. .*public authorization/,
  ],
  ['53300', /has no connection left: said by the test\. Raise max_connections/],
  ['57P03', /does not take connections yet: said by the test\. Try again\.$/],
  [
    '25006',
    /takes no changes: it is a standby, or .* is on\. Check DATABASE_URL: it must name the primary\.$/,
  ],
])('PostgreSQL’s answer with %s is reported with what to do', async (code, expected) => {
  const raise = `do $$ begin raise exception 'said by the test' using errcode = '${code}'; end $$`;
  expect(await saidOf(() => {}, raise)).toMatch(expected);
});

test('the details of PostgreSQL’s refusal to connect are reported as well', async () => {
  const { username, pathname } = new URL(database.url);
  const [role, name] = [username, pathname.slice(1)].map((text) => `"${decodeURIComponent(text)}"`);
  await database.sql.unsafe(`revoke connect on database ${name} from public, ${role}`);
  try {
    expect(await saidOf(() => {})).toMatch(
      /needs: permission denied for database "\w+" \(User does not have CONNECT privilege\)\. Make that user/,
    );
  } finally {
    await database.sql.unsafe(`grant connect on database ${name} to ${role}`);
  }
});

test('the address is named if nothing listens there, or something that is not PostgreSQL', async () => {
  const port = await portOfAnother();
  const other = await saidOf((url) => {
    url.host = `127.0.0.1:${port}`;
  });
  expect(other).toBe(
    `PostgreSQL at 127.0.0.1:${port} could not be reached: The connection to the database was closed. Check DATABASE_URL.`,
  );
  const nobody = await saidOf((url) => {
    url.host = '127.0.0.1:1';
  });
  expect(nobody).toMatch(/^Nothing listens at 127\.0\.0\.1:1\. Check DATABASE_URL/);
});

test.each([
  [
    'no pg_hba.conf entry for host "10.0.0.5", no encryption',
    /no encryption\. If it wants TLS, add \?sslmode=verify-full to DATABASE_URL; otherwise see pg_hba\.conf there\.$/,
  ],
  ['role "u" is not permitted to log in', /log in\. Check DATABASE_URL, and pg_hba\.conf there\.$/],
])('a database that lets nobody in (%s) may want TLS', async (message, expected) => {
  const raise = `do $$ begin raise exception '${message}' using errcode = '28000'; end $$`;
  expect(await saidOf(() => {}, raise)).toMatch(expected);
});

test('a certificate for another name is told apart from a database that can’t be reached', () => {
  const wrongName = Object.assign(new Error('Host: db. is not in the cert’s altnames.'), {
    code: 'ERR_TLS_CERT_ALTNAME_INVALID',
  });
  const lost = new DatabaseLost(wrongName);
  expect(databaseRefusal(lost, 'postgres://u:hush@db/d')).toMatchObject({
    message: expect.stringMatching(
      /^The certificate of PostgreSQL at db:5432 is for another name: .*altnames\. DATABASE_URL has to name the host/,
    ),
  });
});

test('bugs are passed on unchanged; if the embedded database ended, the message says where to look', async () => {
  const bug = await database.sql`select nonsense`.catch((error: unknown) => error);
  expect(databaseRefusal(bug, database.url)).toBe(bug);
  const lost = Object.assign(new Error('closed'), { code: 'CONNECTION_CLOSED' });
  expect(databaseRefusal(bug, undefined)).toBe(bug);
  expect(databaseRefusal(lost, undefined)).toMatchObject({
    name: 'DatabaseRefusalError',
    message: expect.stringMatching(/^The embedded database ended.* postgres\.log .* Start again/),
    cause: lost,
  });
});
