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

it('a statement given to waitWithCommit is committed with the transaction', async () => {
  const result = await inTransaction(t.sql, async (tx) => {
    await tx`insert into things values ('a')`;
    await waitWithCommit(tx, (async () => tx`insert into things values ('b')`)());
    return 'done';
  });
  expect(result).toBe('done');
  expect(await names()).toEqual(['a', 'b']);
});

it('if it fails, everything is rolled back and the error is thrown', async () => {
  await expect(
    inTransaction(t.sql, async (tx) => {
      await tx`insert into things values ('a')`;
      await waitWithCommit(tx, (async () => tx`insert into things values ('a')`)());
    }),
  ).rejects.toMatchObject({ code: '23505' });
  expect(await names()).toEqual([]);
});

it('if it fails before other statements, everything is rolled back as well', async () => {
  await expect(
    inTransaction(t.sql, async (tx) => {
      await waitWithCommit(tx, (async () => tx`insert into nowhere values (1)`)());
      await tx`insert into things values ('a')`;
    }),
  ).rejects.toThrow();
  expect(await names()).toEqual([]);
});

it('if it meets a deadlock, the whole transaction runs again', async () => {
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

it('outside of inTransaction it is awaited at once', async () => {
  await waitWithCommit(t.sql, (async () => t.sql`insert into things values ('a')`)());
  expect(await names()).toEqual(['a']);
});

it('a commit sent with the last statements counts at once, and statements sent after it read what was committed', async () => {
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

it('if a statement given to waitWithCommit fails, commitWithThese commits nothing', async () => {
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
