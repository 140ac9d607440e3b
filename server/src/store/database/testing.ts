// Databases for tests, cloned from the suite's migrated template (20-30 ms): as files, which takes half of what copying
// its blocks through the log does.
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
  /** Closes the pool and drops the database, or gives it to who borrows the next one. */
  close(): Promise<void>;
}

/** A database that nobody else has ever had. */
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
      // Without FORCE the drop itself ends an autovacuum worker, whom our role may not terminate.
      await administrate(`drop database if exists ${name}`).catch((error) => {
        if (sqlState(error) !== objectInUse) throw error;
        return administrate(`drop database if exists ${name} with (force)`);
      });
    },
  };
}

let admin: Sql | undefined;

/** By one connection of this process, which ends with it. */
async function administrate(statement: string): Promise<void> {
  admin ??= connect(inject('databaseUrl'), { max: 1 });
  await admin.unsafe(statement);
}

interface Lendable extends TestDatabase {
  /** For what is done between two tests: those never had it. */
  keeper: Sql;
  /** A pool that was closed. */
  ended: Sql;
}

const lendable: Lendable[] = [];

/**
 * A database as it is when it is new, with connections that tests before may have opened: for those to whom nothing but
 * rows matters. Who changes its schema or leaves something open in it is the last one who has it.
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

/** Emptied only now: what the test before had still on its way has come by now. */
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
