// Databases for tests, cloned from the suite's migrated template (20-30 ms). They are copied as files, which takes half
// as long as copying the blocks through the log.
import { randomBytes } from 'node:crypto';
import { inject } from 'vitest';
import { connect, type Sql, sqlState } from './connection.ts';
import { lendPool } from './testing/lend-pool.ts';
import { emptyDatabase } from './testing/lendable.ts';

const objectInUse = '55006';
const maxConnections = 6;

export interface TestDatabase {
  sql: Sql;
  url: string;
  /** Closes the pool and drops the database, or returns a borrowed database for the next borrower. */
  close(): Promise<void>;
}

/** Creates a database that nobody has used before. */
export async function setupDatabase(options: { max?: number } = {}): Promise<TestDatabase> {
  return cloneDatabase(inject('databaseTemplate'), options.max ?? maxConnections);
}

async function cloneDatabase(template: string, max: number): Promise<TestDatabase> {
  const name = `${template}_${randomBytes(6).toString('hex')}`;
  await administrate(`create database ${name} template ${template} strategy file_copy`);
  const url = new URL(inject('databaseUrl'));
  url.pathname = `/${name}`;
  const sql = connect(url.href, { max });
  return {
    sql,
    url: url.href,
    async close() {
      await sql.end({ timeout: 5 });
      // Without FORCE the drop itself ends an autovacuum worker, which our role may not terminate.
      await administrate(`drop database if exists ${name}`).catch((error) => {
        if (sqlState(error) !== objectInUse) throw error;
        return administrate(`drop database if exists ${name} with (force)`);
      });
    },
  };
}

let admin: Sql | undefined;

/** Uses one connection of this process, which lasts as long as the process. */
async function administrate(statement: string): Promise<void> {
  admin ??= connect(inject('databaseUrl'), { max: 1 });
  await admin.unsafe(statement);
}

interface Lendable extends TestDatabase {
  /** A connection for cleaning up between two tests; tests never get it. */
  keeper: Sql;
  /** A pool that has been closed. */
  ended: Sql;
}

const lendable: Lendable[] = [];

/**
 * Returns a database with the content of a new one, but with connections that earlier tests may have opened: for tests
 * to which only rows matter. After a test that changes its schema or leaves something open in it, the database is not
 * lent again.
 */
export async function borrowDatabase(): Promise<TestDatabase> {
  const template = inject('lendableTemplate');
  if (template === undefined) return setupDatabase();
  const database = (await takeLendable()) ?? (await makeLendable(template));
  const lent = lendPool(database.sql, database.ended);
  return {
    sql: lent.sql,
    url: database.url,
    async close() {
      if (!lent.isOut) return;
      await lent.takeBack();
      if (lent.isSpoiled) await discard(database);
      else lendable.push(database);
    },
  };
}

async function makeLendable(template: string): Promise<Lendable> {
  const database = await cloneDatabase(template, maxConnections);
  const keeper = connect(database.url, { max: 1 });
  const ended = connect(database.url, { max: 1 });
  await ended.end();
  return { ...database, keeper, ended };
}

/** Empties the database only now, because by now the previous test's pending statements have arrived. */
async function takeLendable(): Promise<Lendable | undefined> {
  for (;;) {
    const database = lendable.pop();
    if (database === undefined) return undefined;
    const problem = await emptyDatabase(database.keeper).catch(String);
    if (problem === null) return database;
    await discard(database);
  }
}

async function discard(database: Lendable): Promise<void> {
  await database.keeper.end({ timeout: 5 });
  await database.close();
}
