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

// Only a superuser can empty a database for the next test; otherwise each test gets a new one.
describe.runIf(inject('lendableTemplate') !== undefined)('databases that are lent', () => {
  test('rows of the previous test are gone, and its sequence numbers are given out again', async () => {
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

  test('two borrowers at the same time get one each', async () => {
    const [one, other] = [await borrow(), await borrow()];
    expect(one.url).not.toBe(other.url);
  });

  test('a statement still running when the database is given back does not affect the next test', async () => {
    const first = await borrow();
    const late = first.sql`with slowly as (select pg_sleep(0.05)) insert into users (name) select 'late' from slowly`;
    late.catch(() => undefined);
    late.execute();
    await first.close();
    const second = await borrow();
    await late;
    expect(await contents(second)).toMatchObject([{ users: 0 }]);
  });

  test('a test that has given its database back can’t send anything more to it', async () => {
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
  ])('a database is not lent again if %s', async (_, change) => {
    const first = await borrow();
    await first.sql`insert into users (name) values ('ada')`;
    await change(first);
    await first.close();
    const second = await borrow();
    expect(second.url).not.toBe(first.url);
    expect(await contents(second)).toMatchObject([{ users: 0 }]);
  });

  test('a lent database supports LISTEN like any other', async () => {
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
