import { afterEach, describe, expect, inject, test } from 'vitest';
import { connectListener } from './connection.ts';
import { borrowDatabase, type TestDatabase } from './testing.ts';

const open: TestDatabase[] = [];
afterEach(async () => {
  for (const database of open.splice(0)) await database.close();
});

async function borrow(): Promise<TestDatabase> {
  const database = await borrowDatabase();
  open.push(database);
  return database;
}

const contents = ({ sql }: TestDatabase) => sql`
  select (select count(*)::int from users) as users, (select json_agg(c) from categories c) as categories,
         (select count(*)::int from status_edges) as edges`;

// Only a superuser can empty a database for the next one; without, each has a new one.
describe.runIf(inject('lendableTemplate') !== undefined)('databases that are lent', () => {
  test('what the one before has written, and the numbers it has drawn, are gone', async () => {
    const first = await borrow();
    const before = await contents(first);
    const insert = ({ sql }: TestDatabase) => sql`insert into users (name) values ('ada') returning id`;
    const drawn = await insert(first);
    await first.sql`update categories set name = 'another'`;
    await first.close();
    const second = await borrow();
    expect(second.url).toBe(first.url);
    expect(await contents(second)).toEqual(before);
    expect(await insert(second)).toEqual(drawn);
  });

  test('two at a time have one each', async () => {
    const [one, other] = [await borrow(), await borrow()];
    expect(one.url).not.toBe(other.url);
  });

  test('what is still on its way when it is given back does not reach the next one', async () => {
    const first = await borrow();
    const late = first.sql`with slowly as (select pg_sleep(0.05)) insert into users (name) select 'late' from slowly`;
    late.catch(() => undefined);
    late.execute();
    await first.close();
    const second = await borrow();
    await late;
    expect(await contents(second)).toMatchObject([{ users: 0 }]);
  });

  test('who has given it back can say nothing more in it', async () => {
    const { sql, close } = await borrow();
    await close();
    await expect(sql`select 1`).rejects.toMatchObject({ code: 'CONNECTION_ENDED' });
    await expect(sql.begin((tx) => tx`select 1`)).rejects.toMatchObject({ code: 'CONNECTION_ENDED' });
  });

  test.each([
    ['its schema was changed', (t: TestDatabase) => t.sql`alter table users add column more text`],
    ['its plans rest on statistics', (t: TestDatabase) => t.sql`analyze users`],
    [
      'a connection was told to end',
      (t: TestDatabase) => t.sql`
    select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`,
    ],
  ])('it goes to nobody else where %s', async (_, change) => {
    const first = await borrow();
    await first.sql`insert into users (name) values ('ada')`;
    await change(first);
    await first.close();
    const second = await borrow();
    expect(second.url).not.toBe(first.url);
    expect(await contents(second)).toMatchObject([{ users: 0 }]);
  });

  test('it is listened to as any other', async () => {
    const { sql } = await borrow();
    const heard = await new Promise((resolve) => {
      const listener = connectListener(sql, {
        onNotify: (_, payload) => void listener.end().then(() => resolve(payload)),
        onClose: () => {},
      });
      void listener`listen opsc_test`.then(() => sql.notify('opsc_test', 'a word'));
    });
    expect(heard).toBe('a word');
  });
});
