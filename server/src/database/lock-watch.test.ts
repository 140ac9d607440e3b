import { expect, onTestFinished, test } from 'vitest';
import { blockedBackends } from '../runs/testing.ts';
import { connect, type Sql } from '../store/database/connection.ts';
import { setupDatabase } from '../store/database/testing.ts';
import { LockWatch } from './lock-watch.ts';

async function setup() {
  const database = await setupDatabase({ max: 2 });
  onTestFinished(() => database.close());
  const admin = connect(database.url, { max: 1 });
  onTestFinished(() => admin.end({ timeout: 0 }));
  await admin`set application_name = 'psql'`;
  const { sql } = database;
  const lines: unknown[] = [];
  const ended = connect(database.url, { max: 1 });
  await ended.end();
  const state: { connection: Sql | undefined } = { connection: sql };
  const watch = new LockWatch({
    connection: () => state.connection,
    log: {
      info: (line: string) => lines.push(`info: ${line}`),
      warn: (fields: { holders: { application: string }[]; statements: number }, line: string) =>
        lines.push(`warn: ${line}`, [fields.holders[0]?.application, fields.statements]),
    } as never,
    leastMs: 0,
  });
  return { watch, lines, sql, ended, admin, state };
}

test('who keeps servers waiting is logged once, and its end', async () => {
  const { watch, lines, sql, ended, admin, state } = await setup();
  await watch.look();
  await admin`begin`;
  await admin`lock table jobs`;
  const ours = sql`select count(*) from jobs`.then(() => undefined);
  await blockedBackends(admin, 1);
  for (let n = 0; n < 3; n += 1) await watch.look();
  // Not to know is no end.
  for (const connection of [undefined, ended, sql]) {
    state.connection = connection;
    await watch.look();
  }
  expect(lines).toEqual([expect.stringMatching(/^warn: requests or runs wait for a lock/), ['psql', 1]]);
  await admin`rollback`;
  await ours;
  for (let n = 0; n < 2; n += 1) await watch.look();
  expect(lines.slice(2)).toEqual([expect.stringMatching(/^info: nothing waits any more/)]);
});
