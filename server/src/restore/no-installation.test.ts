// Commands that are run on the wrong database: --data or DATABASE_URL was forgotten or misspelled.
import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { exitCodes, runAuditCommand } from '../audit/verify/verify-command.ts';
import { runKeysCommand } from '../master-keys/keys-command.ts';
import { connect, type Sql } from '../store/database/connection.ts';
import { setupDatabase, type TestDatabase } from '../store/database/testing.ts';
import { runRestoredCommand } from './restored-command.ts';

const name = `empty_${randomBytes(6).toString('hex')}`;
let other: TestDatabase;
let url: string;
let sql: Sql;
let said = '';
const say = (text: string) => {
  said += text;
};

beforeAll(async () => {
  other = await setupDatabase();
  await other.sql.unsafe(`create database ${name} template template0`);
  url = Object.assign(new URL(other.url), { pathname: `/${name}` }).href;
  sql = connect(url, { max: 1 });
});

afterAll(async () => {
  await sql.end();
  await other.sql.unsafe(`drop database ${name}`);
  await other.close();
});

test('npm run keys says that the database has no installation, and which settings to check', async () => {
  await expect(runKeysCommand(['status'], { sql, file: '/none', say })).rejects.toThrow(
    /no installation: check --data or DATABASE_URL/,
  );
});

test('npm run restored says so, and changes nothing', async () => {
  said = '';
  expect(await runRestoredCommand({ sql, migrations: '/none', say, lookMs: 1 })).toBe(1);
  expect(said).toMatch(/no installation. Check --data or DATABASE_URL/);
  expect(await sql`select from information_schema.tables where table_schema = 'public'`).toHaveLength(0);
});

test('npm run audit -- verify says so, and that nothing was verified', async () => {
  said = '';
  expect(await runAuditCommand(['verify'], { databaseUrl: url, write: say })).toBe(exitCodes.notVerified);
  expect(said).toMatch(/could not be verified: this database has no installation; check DATABASE_URL/);
});
