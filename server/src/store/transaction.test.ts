import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { setupDatabase, type TestDatabase } from './testing.ts';
import { inTransaction, waitWithCommit } from './transaction.ts';

let t: TestDatabase;
beforeAll(async () => {
  t = await setupDatabase();
  await t.sql`create table things (name text primary key)`;
});
beforeEach(() => t.sql`truncate things`);
afterAll(() => t.close());

const names = async () => (await t.sql`select name from things order by name`).map((row) => row.name);

it('a statement that is waited for with the commit is committed with it', async () => {
  const result = await inTransaction(t.sql, async (tx) => {
    await tx`insert into things values ('a')`;
    await waitWithCommit(tx, (async () => tx`insert into things values ('b')`)());
    return 'done';
  });
  expect(result).toBe('done');
  expect(await names()).toEqual(['a', 'b']);
});

it('one that fails takes everything with it and is told of', async () => {
  await expect(
    inTransaction(t.sql, async (tx) => {
      await tx`insert into things values ('a')`;
      await waitWithCommit(tx, (async () => tx`insert into things values ('a')`)());
    }),
  ).rejects.toMatchObject({ code: '23505' });
  expect(await names()).toEqual([]);
});

it('one that fails before other statements leaves nothing either', async () => {
  await expect(
    inTransaction(t.sql, async (tx) => {
      await waitWithCommit(tx, (async () => tx`insert into nowhere values (1)`)());
      await tx`insert into things values ('a')`;
    }),
  ).rejects.toThrow();
  expect(await names()).toEqual([]);
});

it('one that met a deadlock makes the whole transaction run again', async () => {
  let tries = 0;
  await inTransaction(t.sql, async (tx) => {
    tries += 1;
    await tx`insert into things values (${`try ${tries}`})`;
    if (tries === 1) {
      const failing = async () =>
        tx.unsafe(`do $$ begin raise exception 'x' using errcode = '40P01'; end $$`);
      await waitWithCommit(tx, failing());
    }
  });
  expect(await names()).toEqual(['try 2']);
});

it('outside of inTransaction it is waited for at once', async () => {
  await waitWithCommit(t.sql, (async () => t.sql`insert into things values ('a')`)());
  expect(await names()).toEqual(['a']);
});
