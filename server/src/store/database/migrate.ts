// Plain numbered SQL, forward only, under an advisory lock: if several servers start at once, one of them migrates.
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Sql } from './connection.ts';
import { DatabaseRefusalError } from './database-refusal.ts';
import { inTransaction, liftTimeLimits } from './transaction.ts';

/** Raised when older servers must not run on the schema any more (`installation.min_server_version`). */
export const serverVersion = 1;
const lockKey = 0x0_95c0_4d;

export interface Migration {
  number: number;
  name: string;
  sql: string;
}

/**
 * Reads `NNNN_name.sql` files in order. A duplicate number is a bug. Numbers may be skipped: changes developed in
 * parallel each have their own number, and none has to wait for another.
 */
export async function readMigrations(directory: string): Promise<Migration[]> {
  const names = (await readdir(directory)).filter((name) => name.endsWith('.sql')).sort();
  const numberOf = (name: string) => Number(/^(\d{4})_/.exec(name)?.[1]);
  return Promise.all(
    names.map(async (name, index) => {
      const number = numberOf(name);
      if (!(number > 0))
        throw new Error(`migrations/${name}: its name does not begin with a number of four digits`);
      if (index > 0 && numberOf(names[index - 1] ?? '') === number)
        throw new Error(`migrations/${name}: the number ${number} is taken by ${names[index - 1]}`);
      return { number, name, sql: await readFile(join(directory, name), 'utf8') };
    }),
  );
}

/** What to say of applied migrations, given by name: a first start applies dozens. */
export function appliedWords(names: readonly string[]): string {
  const listed =
    names.length > 3 ? `${names.length} migrations, ${names[0]} to ${names.at(-1)}` : names.join(', ');
  return `Database schema: applied ${listed}`;
}

/**
 * Returns what to tell an operator if the database has migrations that this server does not know; `undefined` if it has
 * none. It was upgraded by a newer server, beside which the version before works, but not every older one.
 */
export async function newerSchemaWords(
  sql: Sql,
  migrations: readonly Migration[],
): Promise<string | undefined> {
  const rows = await sql<{ number: number; name: string }[]>`
    select number, name from schema_migrations order by number`;
  const own = new Set(migrations.map(({ number }) => number));
  const unknown = rows.filter(({ number }) => !own.has(number));
  if (unknown.length === 0) return undefined;
  const many = unknown.length === 1 ? 'a migration' : `${unknown.length} migrations`;
  return (
    `Database schema: a newer server has upgraded it, by ${many} that this one does not know, up to ${unknown.at(-1)?.name}. ` +
    'Upgrade this server. To go back to its version, restore a backup from before that upgrade.'
  );
}

/** Brings the database to the newest schema. Returns the names of the applied migrations. */
export async function migrate(sql: Sql, migrations: readonly Migration[]): Promise<string[]> {
  const [version] = await sql<{ n: number }[]>`select current_setting('server_version_num')::int as n`;
  if ((version?.n ?? 0) < 150_000) {
    throw new Error(
      `PostgreSQL 15 or newer is needed; this one is ${Math.floor((version?.n ?? 0) / 10_000)}.`,
    );
  }
  // Retried after a deadlock: a server of the previous version keeps working, and locks the same tables in its own
  // order.
  return inTransaction(sql, async (tx) => {
    // One that is cut off is begun anew at the next start, and cut off again.
    await liftTimeLimits(tx);
    await tx`select pg_advisory_xact_lock(${lockKey})`;
    await tx`create table if not exists schema_migrations (
      number integer primary key, name text not null, applied_at timestamptz not null default now())`;
    const applied = await tx<
      { number: number; name: string }[]
    >`select number, name from schema_migrations order by number`;
    if (applied.length === 0) await refuseEncoding(tx);
    await refuseNewerSchema(tx, applied, migrations);
    const done = new Set(applied.map(({ number }) => number));
    const missing = migrations.filter(({ number }) => !done.has(number));
    for (const migration of missing) {
      await tx.unsafe(migration.sql);
      await tx`insert into schema_migrations ${tx({ number: migration.number, name: migration.name })}`;
    }
    return missing.map((migration) => migration.name);
  });
}

/**
 * Others can't hold every text; SQL_ASCII holds it and takes its bytes for letters. A database that has a schema is left
 * alone: it works as well as it did.
 */
async function refuseEncoding(tx: { unsafe: Sql['unsafe'] }): Promise<void> {
  const [found] = await tx.unsafe<{ encoding: string; name: string }[]>(
    `select current_setting('server_encoding') as encoding, current_database() as name`,
  );
  if (found === undefined || found.encoding === 'UTF8') return;
  throw new DatabaseRefusalError(
    `The database "${found.name}" has encoding ${found.encoding}, and every text has to fit in. Make one with UTF8: create database … encoding 'UTF8' template template0.`,
  );
}

async function refuseNewerSchema(
  tx: { unsafe: Sql['unsafe'] },
  applied: readonly { number: number; name: string }[],
  migrations: readonly Migration[],
): Promise<void> {
  for (const row of applied) {
    const ours = migrations.find(({ number }) => number === row.number);
    if (ours !== undefined && ours.name !== row.name) {
      throw new Error(
        `The database has migration ${row.name}, this server has ${ours.name}: they belong to different products.`,
      );
    }
  }
  if (applied.length === 0) return;
  const rows = await tx.unsafe<{ min: number | null }[]>(
    'select max(min_server_version) as min from installation',
  );
  const needed = rows[0]?.min ?? 1;
  if (needed > serverVersion) {
    throw new Error(
      `The database needs server version ${needed} or newer; this server is version ${serverVersion}. Upgrade this server.`,
    );
  }
}
