import { expect, test } from 'vitest';
import { holdTransaction } from '../../runs/testing.ts';
import { lockPeople } from '../people/people.ts';
import { lockUser } from '../people/users.ts';
import { lockMembership } from '../targets/target-group-members.ts';
import { isLockTaken } from './change-lock.ts';
import type { Tx } from './connection.ts';
import { setupDatabase } from './testing.ts';
import { inTransaction } from './transaction.ts';

const userId = 1;
const mostMs = 20;

test.each<[string, (tx: Tx, mostMs?: number) => Promise<unknown>]>([
  ['people', lockPeople],
  ['the members of target groups', lockMembership],
  ['a user', (tx, most) => lockUser(tx, userId, most)],
])('a change of %s waits only so long for another one, and can then be made', async (_, lock) => {
  const { sql, close } = await setupDatabase();
  try {
    await sql`insert into users (id, name) overriding system value values (${userId}, 'ann')`;
    const letGo = await holdTransaction(sql, (tx) => lock(tx));
    const change = () => inTransaction(sql, (tx) => lock(tx, mostMs));
    const refused = await change().catch((error: unknown) => error);
    expect(isLockTaken(refused)).toBe(true);
    await letGo();
    await change();
  } finally {
    await close();
  }
});

test.each([
  ['people', lockPeople],
  ['the members of target groups', lockMembership],
])('a change of %s does not keep others waiting while it waits for a row itself', async (_, lock) => {
  const { sql, close } = await setupDatabase();
  try {
    await sql`insert into users (id, name) overriding system value values (${userId}, 'ann')`;
    const letGo = await holdTransaction(sql, (tx) => tx`select from users where id = ${userId} for update`);
    const change = inTransaction(sql, async (tx) => {
      await lock(tx, mostMs);
      await tx`update users set name = 'bob' where id = ${userId}`;
    });
    expect(isLockTaken(await change.catch((error: unknown) => error))).toBe(true);
    await letGo();
  } finally {
    await close();
  }
});
