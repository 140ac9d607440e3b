import { afterEach, beforeEach, expect, test } from 'vitest';
import { setupDatabase, type TestDatabase } from '../../store/database/testing.ts';
import { insertUser } from '../../store/people/users.ts';
import { createAdministratorCode, createSignInCode } from './sign-in-codes.ts';

const now = () => new Date();
let database: TestDatabase;
beforeEach(async () => {
  database = await setupDatabase();
});
afterEach(() => database.close());

test('the terminal lets an administrator in, whatever happened to the first one', async () => {
  const { sql } = database;
  const entering = async () => (await createAdministratorCode({ sql, now }))?.name;
  expect(await entering()).toBeUndefined();
  await insertUser(sql, 'ada', ['author']);
  const first = await insertUser(sql, 'admin', ['admin']);
  const second = await insertUser(sql, 'bea', []);
  const groups = await sql<{ id: number }[]>`insert into user_groups (name) values ('admins') returning id`;
  const userGroupId = groups[0]?.id ?? 0;
  await sql`insert into role_grants ${sql({ userGroupId, role: 'admin' })}`;
  await sql`insert into user_group_members ${sql({ userGroupId, userId: second })}`;
  expect(await entering()).toBe('admin');
  await sql`update users set name = 'root' where id = ${first}`;
  expect(await entering()).toBe('root');
  await sql`update users set is_active = false where id = ${first}`;
  expect(await entering()).toBe('bea');
});

test('a service account never gets a code', async () => {
  const { sql } = database;
  await sql`insert into users (name, kind) values ('ci', 'service')`;
  await expect(createSignInCode({ sql, now }, 'ci')).rejects.toThrow('who can sign in');
});
