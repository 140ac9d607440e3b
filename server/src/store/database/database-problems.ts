// Checks that the database is reachable and has the schema that this build of the server needs.
import { type Sql, sqlState } from './connection.ts';
import { type Migration, serverVersion } from './migrate.ts';

const undefinedTable = '42P01';

/**
 * Returns what keeps the server from working with its database, as sentences; empty if nothing does. A newer schema is
 * fine as long as it admits this server, because a newer server may migrate while this one runs.
 */
export async function databaseProblems(sql: Sql, migrations: readonly Migration[]): Promise<string[]> {
  try {
    const applied = await sql<{ name: string }[]>`select name from schema_migrations`;
    const names = new Set(applied.map((row) => row.name));
    const missing = migrations.filter((migration) => !names.has(migration.name));
    if (missing.length > 0) {
      const list = missing.map((migration) => migration.name).join(', ');
      return [`The database lacks migrations of this server: ${list}. Restart the server to apply them.`];
    }
    const [row] = await sql<
      { min: number | null }[]
    >`select max(min_server_version) as min from installation`;
    const needed = row?.min ?? serverVersion;
    if (needed > serverVersion) {
      return [
        `The database needs server version ${needed} or newer; this server is version ${serverVersion}. Upgrade this server.`,
      ];
    }
    const [mode] = await sql<{ readOnly: boolean }[]>`
      select current_setting('transaction_read_only')::boolean as "readOnly"`;
    if (mode?.readOnly !== true) return [];
    return [
      'The database takes no changes: it is a standby, or default_transaction_read_only is on. DATABASE_URL must lead to the primary.',
    ];
  } catch (error) {
    if (sqlState(error) === undefinedTable) {
      return [
        'The database has no schema of this product. Restart the server to create it, or restore a backup.',
      ];
    }
    return [`The database does not answer: ${error instanceof Error ? error.message : String(error)}`];
  }
}

/** Whether PostgreSQL confirms what it would forget if it crashed then. */
export async function losesCommits(sql: Sql): Promise<boolean> {
  const [row] = await sql<{ setting: string }[]>`select current_setting('synchronous_commit') as setting`;
  return row?.setting === 'off';
}
