import { recordAudit } from '../../audit/record-audit.ts';
import type { Queryable, Sql } from '../../store/database/connection.ts';
import { migrate, readMigrations } from '../../store/database/migrate.ts';
import { inTransaction } from '../../store/database/transaction.ts';
import { hasSchema, readInstallation } from '../../store/installation/installation.ts';
import { isServed } from '../../store/installation/restore.ts';
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
  const unfit = await whyUnfit(to);
  if (unfit !== undefined) {
    say(`The database ${where} ${unfit}`);
    return 1;
  }
  if (await hasArrived(from, to)) {
    say(`The database ${where} has everything already, from an earlier run of this command.`);
    return finish(command);
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
      detail: { to: where, rows, touchedAt: await touchedAt(from) },
    });
    return { tables: tables.length, rows };
  });
  if (copied === undefined) {
    say(`The database ${where} has an installation already. Give a new one.`);
    return 1;
  }
  say(`Copied and compared: ${copied.rows.toLocaleString('en-US')} rows in ${copied.tables} tables.`);
  return finish(command);
}

/** Marks the old database, now that the new one has everything. */
async function finish({ to, where, say, markMoved }: MoveCommand): Promise<number> {
  try {
    await markMoved();
  } catch (error) {
    say(
      `The old database could not be marked as moved (${error instanceof Error ? error.message : String(error)}). Take care that no server starts on it again.`,
    );
    return 3;
  }
  // Otherwise PostgreSQL counts the rows itself after some minutes, and plans badly until then.
  await to`analyze`.catch((error: unknown) => {
    say(`The new database was not analyzed: ${error instanceof Error ? error.message : String(error)}`);
  });
  say(`Start the servers with DATABASE_URL for ${where}, and with the same --data and master key as before.`);
  return 0;
}

/** Returns what keeps a database from taking any content of ours, and what to do. */
async function whyUnfit(to: Sql): Promise<string | undefined> {
  const [found] = await to<{ encoding: string; schema: string | null }[]>`
    select current_setting('server_encoding') as encoding, current_schema()::text as schema`;
  if (found?.encoding !== 'UTF8')
    return `has encoding ${found?.encoding}. Make one with UTF8: create database … encoding 'UTF8' template template0.`;
  if (found.schema !== 'public')
    return `would get its tables in ${found.schema === null ? 'no schema' : `schema ${found.schema}`}. Make public the first schema for its user: alter role … set search_path = public.`;
  return undefined;
}

/**
 * Whether an earlier run copied all that the old database has now, and was ended before it had marked that, or did not
 * hear that its transaction was committed.
 */
async function hasArrived(from: Sql, to: Sql): Promise<boolean> {
  if (!(await hasSchema(to))) return false;
  const [row] = await to<{ found: boolean }[]>`
    select exists (select from installation where id = ${(await readInstallation(from))?.id ?? ''})
       and exists (select from audit_log where action = 'installation.moved'
                     and detail ->> 'touchedAt' = ${await touchedAt(from)}) as found`;
  return row?.found === true;
}

/** When a server last worked on the database. */
async function touchedAt(sql: Sql): Promise<string> {
  const [row] = await sql<{ at: string }[]>`select touched_at::text as at from cluster_clock`;
  return row?.at ?? '';
}

/** Whether no installation was made in the database, which has our schema. */
async function isVacant(sql: Queryable): Promise<boolean> {
  return (await sql`select 1 from installation limit 1`).length === 0;
}

/**
 * Whether the database has tables that a move which did not end can't have left. Those of extensions don't count: many
 * providers put some into each new database.
 */
async function isForeign(to: Sql): Promise<boolean> {
  const [row] = await to<{ tables: number }[]>`
    select count(*)::int as tables from pg_class
     where relnamespace = 'public'::regnamespace and relkind in ('r', 'p', 'v', 'm', 'f')
       and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = pg_class.oid
                         and d.deptype = 'e')`;
  if (row?.tables === 0) return false;
  return !(await hasSchema(to)) || !(await isVacant(to));
}
