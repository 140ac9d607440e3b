// What lets somebody in is told once, and never stored: a thief with a dump of the database has nothing to try.
import {
  type CreatedApiToken,
  parseEnrollmentToken,
  type SignInLink,
  type User,
} from '@opsconductor/protocol';
import { expect, onTestFinished, test } from 'vitest';
import { hashCheaply } from '../../../auth/passwords/testing.ts';
import { createSignInCode } from '../../../auth/sign-in/sign-in-codes.ts';
import { makeSegment, makeToken, setupInstallation } from '../../../segments/testing.ts';
import type { TestDatabase } from '../../../store/database/testing.ts';
import { setupPeople } from './identity-testing.ts';

hashCheaply();

test('no token, code, link, cookie or password is in any row of the database', async () => {
  const t = await setupPeople();
  onTestFinished(() => t.close());
  const { token: admin } = await t.user('root', ['admin']);
  const { id } = await t.call<User>('POST', 'users', admin, { name: 'ann' });
  const created = await t.call<CreatedApiToken>('POST', 'tokens', admin, { name: 'script' });
  const link = await t.call<SignInLink>('POST', `users/${id}/sign-in-link`, admin);
  const { code } = await createSignInCode({ sql: t.sql, now: t.clock.now }, 'ann');
  const browser = await t.browser().enter('root');
  const password = 'correct horse battery staple';
  expect(await browser.status('PUT', 'me/password', { password })).toBeLessThan(300);
  const installation = await setupInstallation(Promise.resolve({ sql: t.sql } as TestDatabase));
  const enrollment = await makeToken(installation, (await makeSegment(installation)).id);
  const secrets = [
    ...[admin, created.token, link.url.split('=')[1], code, password],
    ...[browser.cookie.split('=')[1], parseEnrollmentToken(enrollment)?.secret],
  ].map((secret) => secret ?? '');
  const rows: string[] = [];
  const tables = await t.sql<{ name: string }[]>`
    select table_name as name from information_schema.tables
    where table_schema = 'public' and table_type = 'BASE TABLE'`;
  for (const { name } of tables) {
    const found = await t.sql<{ row: string }[]>`select to_jsonb(x)::text as row from ${t.sql(name)} x`;
    rows.push(...found.map(({ row }) => row));
  }
  const dump = rows.join('\n');
  for (const secret of secrets) {
    expect(secret.length).toBeGreaterThan(20);
    for (const form of [secret, Buffer.from(secret).toString('hex'), Buffer.from(secret).toString('base64')])
      expect(dump).not.toContain(form);
  }
});
