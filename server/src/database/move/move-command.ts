import { recordAudit } from '../../audit/record-audit.ts';
import type { Queryable, Sql } from '../../store/database/connection.ts';
import { hasSchema } from '../../store/database/installation.ts';
import { migrate, readMigrations } from '../../store/database/migrate.ts';
import { isServed } from '../../store/database/restore.ts';
import { inTransaction } from '../../store/database/transaction.ts';
import { copyDatabase } from './copy-database.ts';

export const moveUsage = `npm run move         moves the embedded database to a PostgreSQL of your own

  --data FOLDER       the folder of the server whose database is moved
  DATABASE_URL        the new database: empty, owned by its user, PostgreSQL 15 or newer

Stop every server first. Everything is copied in one transaction and compared: all of it arrives, or nothing. The old
database stays as it is, but no server starts on it any more.`;

export interface MoveCommand {
  from: Sql;
  to: Sql;
  /** Host, port and name of the new database. */
  where: string;
  /** Folder of the migrations of this build. */
  migrations: string;
  say(text: string): void;
  /** Marks the old database. Called once the new one has everything. */
  markMoved(): Promise<void>;
  /** How long to watch whether a server is working on the database; 2.5 s by default. */
  lookMs?: number;
}

/** Returns the exit code. If it is 1, nothing was moved; if it is 3, all was, but the old database is not marked. */
export async function runMoveCommand(command: MoveCommand): Promise<number> {
  const { from, to, where, say, lookMs = 2_500 } = command;
  if (!(await hasSchema(from)) || (await isVacant(from))) {
    say('There is no installation in the embedded database: start a server with DATABASE_URL right away.');
    return 1;
  }
  if (await isServed(from, lookMs)) {
    say('A server is working on the database. Stop every server, then run this again.');
    return 1;
  }
  if (await isForeign(to)) {
    say(`The database ${where} is not empty. Give a new one, to which nothing was written yet.`);
    return 1;
  }
  const migrations = await readMigrations(command.migrations);
  await migrate(from, migrations);
  await migrate(to, migrations);
  const copied = await inTransaction(to, async (tx) => {
    await tx`lock table installation in access exclusive mode`;
    if (!(await isVacant(tx))) return undefined;
    const tables = await copyDatabase(from, tx, ({ name, rows }) => {
      if (rows >= 100_000) say(`  ${name}: ${rows.toLocaleString('en-US')} rows`);
    });
    const rows = tables.reduce((sum, table) => sum + table.rows, 0);
    await recordAudit(tx, {
      actor: { kind: 'system', name: 'move' },
      action: 'installation.moved',
      detail: { to: where, rows },
    });
    return { tables: tables.length, rows };
  });
  if (copied === undefined) {
    say(`The database ${where} has an installation already. Give a new one.`);
    return 1;
  }
  await to`analyze`;
  say(`Copied and compared: ${copied.rows.toLocaleString('en-US')} rows in ${copied.tables} tables.`);
  try {
    await command.markMoved();
  } catch (error) {
    say(
      `The old database could not be marked as moved (${error instanceof Error ? error.message : String(error)}). Take care that no server starts on it again.`,
    );
    return 3;
  }
  say(`Start the servers with DATABASE_URL for ${where}, and with the same --data and master key as before.`);
  return 0;
}

/** Whether no installation was made in the database, which has our schema. */
async function isVacant(sql: Queryable): Promise<boolean> {
  return (await sql`select 1 from installation limit 1`).length === 0;
}

/** Whether the database has tables that a move which did not end can't have left. */
async function isForeign(to: Sql): Promise<boolean> {
  const [row] = await to<{ tables: number }[]>`
    select count(*)::int as tables from pg_class
     where relnamespace = 'public'::regnamespace and relkind in ('r', 'p', 'v', 'm', 'f')`;
  if (row?.tables === 0) return false;
  return !(await hasSchema(to)) || !(await isVacant(to));
}
