// A database of its own for each test file, cloned from the suite's migrated template (20-30 ms): as files, which takes half
// of what copying its blocks through the log does.
import { randomBytes } from 'node:crypto';
import { inject } from 'vitest';
import { connect, type Sql, sqlState } from './connection.ts';

const objectInUse = '55006';

export interface TestDatabase {
  sql: Sql;
  url: string;
  /** Closes the pool and drops the database. */
  close(): Promise<void>;
}

export async function setupDatabase(options: { max?: number } = {}): Promise<TestDatabase> {
  const serverUrl = inject('databaseUrl');
  const name = `opsc_test_${randomBytes(6).toString('hex')}`;
  await administrate(`create database ${name} template ${inject('databaseTemplate')} strategy file_copy`);
  const url = new URL(serverUrl);
  url.pathname = `/${name}`;
  const sql = connect(url.href, { max: options.max ?? 6 });
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
