// Copies the content of one database of ours into another one that has the same schema and no content. pg_dump would do
// it too, but an older one refuses a newer PostgreSQL, and an older PostgreSQL refuses what a newer one dumps.
import type { Readable, Writable } from 'node:stream';
import { finished } from 'node:stream/promises';
import type { Queryable, Sql, Tx } from '../../store/database/connection.ts';
import { liftTimeLimits } from '../../store/database/transaction.ts';

/** What the migrations themselves write; both databases have it already. */
const notCopied = ['schema_migrations'];

export interface CopiedTable {
  name: string;
  rows: number;
}

/**
 * Copies every table within the transaction on `to`, whose tables are emptied first, and compares what arrived with
 * what was there. `from` must not change meanwhile.
 * @param onTable is told of each table that has arrived.
 * @throws {Error} if the two have not the same tables and columns, or if what arrived is not what was there.
 */
export async function copyDatabase(
  from: Sql,
  to: Tx,
  onTable: (table: CopiedTable) => void,
): Promise<CopiedTable[]> {
  await to`set local lock_timeout = '10s'`;
  await liftTimeLimits(to);
  const tables = await tablesOf(to);
  await copyPartitions(from, to);
  const triggers = await setTriggersAside(to);
  const references = await setReferencesAside(to);
  await to.unsafe(`truncate ${tables.map(({ name }) => quoted(name)).join(', ')}`);
  const copied = await from.begin('isolation level repeatable read read only', async (source) => {
    await liftTimeLimits(source as unknown as Tx);
    const there = await tablesOf(source as unknown as Tx);
    if (JSON.stringify(there) !== JSON.stringify(tables)) {
      throw new Error(
        'The two databases have different tables or columns, although they have the same migrations.',
      );
    }
    const copied: CopiedTable[] = [];
    for (const table of tables) {
      const rows = await copyTable(from, source as unknown as Tx, to, table);
      copied.push({ name: table.name, rows });
      onTable({ name: table.name, rows });
    }
    await copySequences(source as unknown as Tx, to);
    return copied;
  });
  for (const statement of references) await to.unsafe(statement);
  for (const statement of triggers) await to.unsafe(statement);
  return copied;
}

interface Table {
  name: string;
  /** In the order of their names: databases of different age have them in different order. Without computed ones. */
  columns: string[];
}

/** Returns the tables in the order of their names, without partitions and without those of extensions. */
async function tablesOf(sql: Queryable): Promise<Table[]> {
  return sql<Table[]>`
    select c.relname as name, array_agg(a.attname::text order by a.attname) as columns
      from pg_class c join pg_attribute a on a.attrelid = c.oid
     where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
       and c.relname <> all(${notCopied}) and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
       and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid
                         and d.deptype = 'e')
     group by c.relname order by c.relname`;
}

/** Returns what the table has, so that two copies can be compared. */
async function contentOf(
  sql: Queryable,
  { name, columns }: Table,
): Promise<{ rows: number; digest: string }> {
  // Texts of values must not depend on the settings of the two servers.
  await sql.unsafe(
    `set local timezone = 'UTC'; set local datestyle = 'ISO, MDY'; set local intervalstyle = 'iso_8601';
     set local bytea_output = 'hex'; set local extra_float_digits = 1`,
  );
  const [content] = await sql.unsafe<{ rows: number; digest: string }[]>(
    `select count(*)::bigint as rows,
            coalesce(sum(hashtextextended(row(${columns.map(quoted).join(', ')})::text collate "C", 0)::numeric), 0)::text as digest
       from ${quoted(name)}`,
  );
  if (content === undefined) throw new Error('a count returned no row');
  return content;
}

/** Returns the number of rows. */
async function copyTable(from: Sql, source: Tx, to: Tx, table: Table): Promise<number> {
  const there = await contentOf(source, table);
  if (there.rows > 0) {
    const what = `${quoted(table.name)} (${table.columns.map(quoted).join(', ')})`;
    const columns = table.columns.map(quoted).join(', ');
    const writing = await copyInto(to, what);
    await passRows(from, source, `copy (select ${columns} from ${quoted(table.name)}) to stdout`, writing);
  }
  const arrived = await contentOf(to, table);
  if (arrived.rows !== there.rows || arrived.digest !== there.digest) {
    throw new Error(
      `Of table ${table.name}, ${arrived.rows} rows arrived of ${there.rows}, or they are not the same: nothing was moved.`,
    );
  }
  return there.rows;
}

/**
 * Opens the table for rows. The driver forgets the stream once all rows were handed over, and tells nobody what the
 * database answers after that unless it is that all went well; whoever waits for the end would wait for ever.
 */
async function copyInto(to: Tx, table: string): Promise<Writable> {
  const query = to.unsafe(`copy ${table} from stdin`);
  const writing = (await query.writable()) as Writable;
  (query as unknown as { reject(error: Error): void }).reject = (error) => {
    writing.destroy(error);
  };
  return writing;
}

/**
 * Passes what `copy` reads on `source`, a transaction of `from`, to `writing`. If that fails, the rest is read and
 * dropped until PostgreSQL has cancelled it: nothing else can be said on that connection before.
 */
async function passRows(from: Sql, source: Tx, copy: string, writing: Writable): Promise<void> {
  const ended = finished(writing);
  try {
    const [backend] = await source<{ pid: number }[]>`select pg_backend_pid() as pid`;
    const reading = (await source.unsafe(copy).readable()) as Readable;
    const failed = new Promise<never>((_, reject) => {
      reading.on('error', reject);
    });
    reading.pipe(writing);
    try {
      await Promise.race([ended, failed]);
    } catch (error) {
      const read = finished(reading.unpipe(writing).resume()).catch(() => undefined);
      await from`select pg_cancel_backend(${backend?.pid ?? 0})`;
      await read;
      throw error;
    }
  } catch (error) {
    writing.destroy(error as Error);
    await ended.catch(() => undefined);
    throw error;
  }
}

/** Creates the partitions that the target lacks; those ahead of today, both have. */
async function copyPartitions(from: Sql, to: Tx): Promise<void> {
  const partitionsOf = (sql: Queryable) => sql<{ name: string; parent: string; bound: string }[]>`
    select c.relname as name, p.relname as parent, pg_get_expr(c.relpartbound, c.oid) as bound
      from pg_class c join pg_inherits i on i.inhrelid = c.oid join pg_class p on p.oid = i.inhparent
     where c.relnamespace = 'public'::regnamespace and c.relispartition and c.relkind = 'r' order by c.relname`;
  const present = new Set((await partitionsOf(to)).map(({ name }) => name));
  for (const { name, parent, bound } of await partitionsOf(from)) {
    if (present.has(name)) continue;
    await to.unsafe(`create table ${quoted(name)} partition of ${quoted(parent)} ${bound}`);
  }
}

/** Disables the triggers of ours. Returns the statements that bring them back as they were. */
async function setTriggersAside(to: Tx): Promise<string[]> {
  const triggers = await to<{ table: string; name: string; enabled: string }[]>`
    select t.tgrelid::regclass::text as table, t.tgname as name, t.tgenabled::text as enabled
      from pg_trigger t join pg_class c on c.oid = t.tgrelid
     where c.relnamespace = 'public'::regnamespace and not t.tgisinternal and t.tgenabled <> 'D' and t.tgparentid = 0`;
  const ways: Readonly<Record<string, string>> = { O: 'enable', R: 'enable replica', A: 'enable always' };
  for (const { table, name } of triggers)
    await to.unsafe(`alter table ${table} disable trigger ${quoted(name)}`);
  return triggers.map(
    ({ table, name, enabled }) => `alter table ${table} ${ways[enabled] ?? 'enable'} trigger ${quoted(name)}`,
  );
}

/** Drops the foreign keys, because tables refer to each other. Returns the statements that add and check them again. */
async function setReferencesAside(to: Tx): Promise<string[]> {
  const references = await to<{ table: string; name: string; definition: string }[]>`
    select conrelid::regclass::text as table, conname as name, pg_get_constraintdef(oid) as definition
      from pg_constraint
     where connamespace = 'public'::regnamespace and contype = 'f' and conparentid = 0
     order by conrelid, conname`;
  for (const { table, name } of references)
    await to.unsafe(`alter table ${table} drop constraint ${quoted(name)}`);
  return references.map(
    ({ table, name, definition }) => `alter table ${table} add constraint ${quoted(name)} ${definition}`,
  );
}

async function copySequences(source: Tx, to: Tx): Promise<void> {
  const sequences = await source<{ name: string }[]>`
    select c.relname as name from pg_class c
     where c.relnamespace = 'public'::regnamespace and c.relkind = 'S' order by c.relname`;
  for (const { name } of sequences) {
    const [at] = await source.unsafe<{ value: string; isCalled: boolean }[]>(
      `select last_value::text as value, is_called from ${quoted(name)}`,
    );
    if (at === undefined) throw new Error(`sequence ${name} has no value`);
    await to`select setval(${quoted(name)}::regclass, ${at.value}::bigint, ${at.isCalled})`;
  }
}

function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
