import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { connect } from './connection.ts';
import { databaseProblems } from './database-problems.ts';
import { type Migration, readMigrations, serverVersion } from './migrate.ts';
import { setupDatabase, type TestDatabase } from './testing.ts';

let database: TestDatabase;
let migrations: Migration[];
beforeEach(async () => {
  database = await setupDatabase();
  migrations = await readMigrations(join(import.meta.dirname, '../../../../migrations'));
});
afterEach(() => database.close());

test('a migrated database has no problems, even if a newer server has migrated it further', async () => {
  expect(await databaseProblems(database.sql, migrations)).toEqual([]);
  await database.sql`insert into schema_migrations (number, name) values (9999, '9999_later.sql')`;
  expect(await databaseProblems(database.sql, migrations)).toEqual([]);
});

test('a database that lacks a migration of this build has a problem, as after restoring a backup of an older version', async () => {
  const newer = [...migrations, { number: 9999, name: '9999_newer.sql', sql: '' }];
  expect(await databaseProblems(database.sql, newer)).toEqual([
    'The database lacks migrations of this server: 9999_newer.sql. Restart the server to apply them.',
  ]);
  await database.sql`delete from schema_migrations`;
  const [problem] = await databaseProblems(database.sql, migrations);
  for (const { name } of migrations) expect(problem).toContain(name);
  await database.sql`drop table schema_migrations`;
  expect(await databaseProblems(database.sql, migrations)).toEqual([
    'The database has no schema of this product. Restart the server to create it, or restore a backup.',
  ]);
});

test('a database that needs a newer server has a problem', async () => {
  const { sql } = database;
  await sql`
    insert into installation (id, min_server_version, master_key_id, server_key, server_key_sealed)
    values (gen_random_uuid(), ${serverVersion}, 'k', '', '')`;
  expect(await databaseProblems(sql, migrations)).toEqual([]);
  await sql`update installation set min_server_version = ${serverVersion + 1}`;
  expect((await databaseProblems(sql, migrations))[0]).toMatch(/needs server version \d+ or newer/);
});

test('a database that takes no changes has a problem', async () => {
  const name = new URL(database.url).pathname.slice(1);
  await database.sql.unsafe(`alter database "${name}" set default_transaction_read_only = on`);
  const sql = connect(database.url, { max: 1 });
  try {
    expect((await databaseProblems(sql, migrations))[0]).toMatch(
      /^The database takes no changes: it is a standby/,
    );
  } finally {
    await sql.end();
    await database.sql.unsafe(
      `set transaction_read_only = off; alter database "${name}" reset default_transaction_read_only`,
    );
  }
});

test('a database that does not answer has a problem', async () => {
  await database.sql.end();
  expect((await databaseProblems(database.sql, migrations))[0]).toMatch(/^The database does not answer: /);
});
