// What somebody sets for a role or a database changes nothing in how values are read and written.
import { expect, onTestFinished, test } from 'vitest';
import { connect, connectBinary, connectListener, connectQueue } from './connection.ts';
import { setupDatabase } from './testing.ts';

const foreign = {
  timezone: 'America/New_York',
  datestyle: 'German, DMY',
  intervalstyle: 'sql_standard',
  bytea_output: 'escape',
  extra_float_digits: '-5',
  standard_conforming_strings: 'off',
  default_transaction_isolation: 'serializable',
  // The connection that listens would be ended again and again.
  idle_session_timeout: '1h',
};
const ours = {
  timezone: 'UTC',
  datestyle: 'ISO, MDY',
  intervalstyle: 'postgres',
  bytea_output: 'hex',
  extra_float_digits: '1',
  standard_conforming_strings: 'on',
  default_transaction_isolation: 'read committed',
  idle_session_timeout: '0',
};
const names = Object.keys(foreign);

/** Returns the URL of a database with these settings. */
async function foreignDatabase(): Promise<string> {
  const database = await setupDatabase({ max: 1 });
  onTestFinished(() => database.close());
  const name = new URL(database.url).pathname.slice(1);
  for (const [setting, value] of Object.entries(foreign)) {
    await database.sql.unsafe(`alter database ${name} set ${setting} = '${value}'`);
  }
  return database.url;
}

test('settings of the database for how values look are not those of any connection', async () => {
  const pool = connect(await foreignDatabase(), { max: 1 });
  onTestFinished(() => pool.end({ timeout: 0 }));
  const queue = connectQueue(pool, { max: 1 });
  onTestFinished(() => queue.end({ timeout: 0 }));
  const listener = connectListener(pool, { onNotify: () => undefined, onClose: () => undefined });
  onTestFinished(() => listener.end({ timeout: 0 }));
  const binary = connectBinary(pool, { dialMs: 10_000 });
  onTestFinished(() => binary.end());
  const settings = `select lower(name), setting from pg_settings where lower(name) in (${names.map((name) => `'${name}'`).join(', ')})`;
  for (const sql of [pool, queue, listener]) {
    expect(Object.fromEntries(await sql.unsafe(settings).values())).toEqual(ours);
  }
  expect(Object.fromEntries(await binary.query(settings, []))).toEqual(ours);
});

test('days, bytes and numbers arrive as they are, whatever the database would make of them', async () => {
  const sql = connect(await foreignDatabase(), { max: 1 });
  onTestFinished(() => sql.end({ timeout: 0 }));
  const day = new Date('2026-12-01T10:11:12.345Z');
  const bytes = Buffer.from([0, 7, 92, 120, 200, 255]);
  const rows = await sql`
    select ${day}::timestamptz as day, ${bytes}::bytea as bytes, 0.1::float8 + 0.2 as number, ${'a\\b'} as text`;
  expect(rows[0]).toEqual({ day, bytes, number: 0.1 + 0.2, text: 'a\\b' });
});
