import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { setupDatabase, type TestDatabase } from './testing.ts';
import { commitWithThese, hasCommitted, inTransaction, waitWithCommit } from './transaction.ts';

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

it('what was committed with the last statements is told of at once, and what is sent behind them reads it', async () => {
  const key = 4711;
  const other = await t.sql.reserve();
  await other`select pg_advisory_lock(${key})`;
  const { behind } = await inTransaction(t.sql, async (tx) => {
    const sent = [tx`insert into things values ('a')`.execute(), commitWithThese(tx)];
    const behind = (async () =>
      tx`select pg_advisory_xact_lock(${key}), (select count(*) from things) as count`)();
    await Promise.all(sent);
    expect(hasCommitted(tx)).toBe(true);
    return { behind };
  });
  expect(await names()).toEqual(['a']);
  await other`select pg_advisory_unlock(${key})`;
  other.release();
  expect((await behind)[0]).toMatchObject({ count: 1 });
});

it('a failed statement that is waited for with the commit leaves nothing committed', async () => {
  let tx: Parameters<typeof hasCommitted>[0] | undefined;
  await expect(
    inTransaction(t.sql, async (open) => {
      tx = open;
      await waitWithCommit(open, (async () => open`insert into nowhere values (1)`)());
      await commitWithThese(open);
    }),
  ).rejects.toThrow('nowhere');
  expect(tx === undefined || hasCommitted(tx)).toBe(false);
});
