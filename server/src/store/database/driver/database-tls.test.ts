// The connection to PostgreSQL by the TLS parameters of DATABASE_URL, to a database that asks for certificates.
import { execFile } from 'node:child_process';
import { chmod, chown, copyFile, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../../database/embedded-postgres.ts';
import { copyBegunData } from '../../../database/testing/begun-data.ts';
import { connect, connectBinary, connectListener } from '../connection.ts';
import { databaseRefusal } from '../database-refusal.ts';
import { isPlainByDefault, tlsOf, tlsProblem } from './database-tls.ts';

const run = promisify(execFile);

let folder: string;
let database: EmbeddedPostgres;
const at = (name: string) => join(folder, name);

/** Makes `name.crt` and `name.key`, which vouches for itself. */
async function makeCertificate(name: string, ...extensions: string[]): Promise<void> {
  await run('openssl', [
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'],
    ...['-subj', `/CN=${name}`, '-keyout', at(`${name}.key`), '-out', at(`${name}.crt`)],
    ...extensions.flatMap((extension) => ['-addext', extension]),
  ]);
  await chmod(at(`${name}.key`), 0o600);
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'opsconductor-database-tls-'));
  // Under root, PostgreSQL runs as another account and would otherwise be placed outside.
  await chmod(folder, 0o755);
  await makeCertificate('database', 'subjectAltName=IP:127.0.0.1');
  await makeCertificate('server', 'extendedKeyUsage=clientAuth');
  await makeCertificate('stranger', 'extendedKeyUsage=clientAuth');
  const home = at('home');
  await copyBegunData(home);
  const { uid, gid } = await stat(join(home, 'cluster'));
  const own = async (name: string, text: string) => {
    await writeFile(join(home, name), text, { mode: 0o600 });
    await chown(join(home, name), uid, gid);
    return join(home, name);
  };
  const hba = [
    'hostnossl all all 127.0.0.1/32 scram-sha-256',
    'hostssl all all 127.0.0.1/32 scram-sha-256 clientcert=verify-ca',
  ];
  const settings = {
    ssl: 'on',
    ssl_key_file: await own('own.key', await readFile(at('database.key'), 'utf8')),
    ssl_cert_file: await own('own.crt', await readFile(at('database.crt'), 'utf8')),
    ssl_ca_file: await own('clients.crt', await readFile(at('server.crt'), 'utf8')),
    hba_file: await own('hba.conf', `${hba.join('\n')}\n`),
  };
  database = await startEmbeddedPostgres({ dataDir: home, settings, log: () => {} });
});
afterAll(async () => {
  await database?.stop();
  await rm(folder, { recursive: true, force: true });
});

function urlWith(parameters: Record<string, string>): string {
  const url = new URL(database.url);
  for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value);
  return url.href;
}

const certificateOf = (name: string) => ({ sslcert: at(`${name}.crt`), sslkey: at(`${name}.key`) });

/** Returns whose certificate the database has seen, or how an operator is told that there is no connection. */
async function seenAs(parameters: Record<string, string>): Promise<string | null> {
  const url = urlWith(parameters);
  const sql = connect(url, { max: 1 });
  try {
    const [row] = await sql<{ clientDn: string | null }[]>`
      select client_dn from pg_stat_ssl where pid = pg_backend_pid()`;
    return row?.clientDn ?? null;
  } catch (error) {
    return (databaseRefusal(error, url) as Error).message;
  } finally {
    await sql.end({ timeout: 1 });
  }
}

test('a server shows the certificate that sslcert and sslkey name, on every kind of connection', async () => {
  const url = urlWith({ sslrootcert: at('database.crt'), ...certificateOf('server') });
  const sql = connect(url, { max: 1 });
  const listener = connectListener(sql, { onNotify: () => {}, onClose: () => {} });
  const binary = connectBinary(sql, { dialMs: 30_000 });
  try {
    const query = 'select client_dn from pg_stat_ssl where pid = pg_backend_pid()';
    expect(await sql.unsafe(query)).toEqual([{ clientDn: '/CN=server' }]);
    expect(await listener.unsafe(query)).toEqual([{ clientDn: '/CN=server' }]);
    expect(await binary.query(query, [])).toEqual([['/CN=server']]);
  } finally {
    await Promise.all([sql, listener].map((each) => each.end({ timeout: 1 })));
    await binary.end();
  }
});

test('a CA named by sslrootcert is the only one, and is checked unless sslmode says otherwise', async () => {
  const own = certificateOf('server');
  const untrusted = /^The certificate of PostgreSQL at .* is not trusted here: .*sslrootcert=/;
  expect(await seenAs({ ...own, sslmode: 'verify-full' })).toMatch(untrusted);
  expect(await seenAs({ ...own, sslrootcert: at('stranger.crt') })).toMatch(untrusted);
  expect(await seenAs({ ...own, sslmode: 'require', sslrootcert: at('stranger.crt') })).toMatch(untrusted);
  expect(await seenAs({ ...own, sslmode: 'verify-full', sslrootcert: 'system' })).toMatch(untrusted);
  expect(await seenAs({ ...own, sslmode: 'require' })).toBe('/CN=server');
});

test('a server without the certificate that the database demands, or with another, is told so', async () => {
  expect(await seenAs({ sslmode: 'require' })).toMatch(/client certificate.*sslcert and sslkey/);
  expect(await seenAs({ sslmode: 'require', ...certificateOf('stranger') })).toMatch(
    /^PostgreSQL at .* refuses the certificate that sslcert in DATABASE_URL names: .*unknown ca/,
  );
});

test('a renewed certificate is shown from the next connection on; a file that went missing is named', async () => {
  const mine = { sslcert: at('renewed.crt'), sslkey: at('renewed.key') };
  const url = urlWith({ sslmode: 'require', ...mine });
  const sql = connect(url, { max: 1 });
  try {
    const refusal = databaseRefusal(await sql`select 1`.catch((error: unknown) => error), url);
    expect(refusal).toMatchObject({
      message: `DATABASE_URL: sslcert: ${mine.sslcert} can't be read (ENOENT).`,
    });
    await copyFile(at('server.crt'), mine.sslcert);
    await copyFile(at('server.key'), mine.sslkey);
    expect(await sql`select 1 as one`).toEqual([{ one: 1 }]);
  } finally {
    await sql.end({ timeout: 1 });
  }
});

test('what is wrong with the files is found before anything is dialled, with the parameter and the fix', async () => {
  await writeFile(at('text'), 'no certificate', { mode: 0o600 });
  await copyFile(at('server.key'), at('open.key'));
  await chmod(at('open.key'), 0o644);
  await run('openssl', [
    'ec',
    '-aes256',
    '-passout',
    'pass:x',
    '-in',
    at('server.key'),
    '-out',
    at('locked.key'),
  ]);
  await chmod(at('locked.key'), 0o600);
  const problem = (parameters: Record<string, string>) => tlsProblem(urlWith(parameters));
  const mine = certificateOf('server');
  expect(problem({ sslmode: 'verify-full' })).toBeUndefined();
  expect(problem({ sslrootcert: at('database.crt'), ...mine })).toBeUndefined();
  expect(problem({ sslrootcert: at('none') })).toBe(`sslrootcert: ${at('none')} can't be read (ENOENT)`);
  expect(problem({ sslrootcert: at('text') })).toMatch(/^sslrootcert: .* has no certificate in PEM format$/);
  expect(problem({ sslmode: 'require', sslcert: mine.sslcert })).toMatch(/^sslkey is missing: .*together$/);
  expect(problem({ sslmode: 'require', sslkey: mine.sslkey })).toMatch(/^sslcert is missing: .*together$/);
  expect(problem({ sslmode: 'require', ...mine, sslkey: at('open.key') })).toMatch(
    /^sslkey: others can read .*chmod 600/,
  );
  expect(problem({ sslmode: 'require', ...mine, sslkey: at('locked.key') })).toMatch(
    /^sslkey: .* without a passphrase/,
  );
  expect(problem({ sslmode: 'require', ...mine, sslkey: at('stranger.key') })).toMatch(
    /^sslkey: .* is not the key of the certificate in /,
  );
  expect(problem({ sslmode: 'prefer', sslrootcert: at('database.crt') })).toBe(
    'sslrootcert has no use with sslmode=prefer: write sslmode=verify-full',
  );
  expect(problem(mine)).toBe('sslcert has no use with sslmode=disable: write sslmode=verify-full');
});

test.each([
  ['postgres://u:hush@db.example.com/d', true],
  ['postgres://u:hush@10.0.0.5:5432/d?application_name=x', true],
  ['postgres://u@127.0.0.1/d', false],
  ['postgres://u@[::1]/d', false],
  ['postgres://u@localhost/d', false],
  ['postgres://u@db.example.com/d?sslmode=disable', false],
  ['postgres://u@db.example.com/d?sslmode=verify-full', false],
  ['postgres://u@db.example.com/d?ssl=true', false],
  ['postgres://u@db.example.com/d?sslrootcert=/etc/ca.pem', false],
])('nobody said whether a connection of %s to another machine is to be encrypted: %s', (url, expected) => {
  expect(isPlainByDefault(url)).toBe(expected);
});

test('unknown modes count as the strictest one', () => {
  const modes = ['disable', 'allow', 'require', 'verify-ca', 'anything'];
  const url = 'postgres://u@h/d';
  expect(modes.map((mode) => tlsOf(`${url}?sslmode=${mode}`).mode)).toEqual([
    'off',
    'prefer',
    'require',
    'verify',
    'verify',
  ]);
  expect(tlsOf(url).mode).toBe('off');
  expect(tlsOf(`${url}?ssl=true`).mode).toBe('verify');
});
