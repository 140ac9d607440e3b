import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sign, verify } from '@opsconductor/protocol/sealing';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { setupDatabase, type TestDatabase } from '../../store/database/testing.ts';
import { Authenticator } from '../authenticator.ts';
import { bootstrapAdministrator } from './bootstrap-administrator.ts';
import { openInstallation } from './open-installation.ts';

const bootstrapToken = 'bootstrap-token-of-the-first-start-0123456789';
const now = () => new Date();
let database: TestDatabase;
let folder: string;
beforeEach(async () => {
  database = await setupDatabase();
  folder = await mkdtemp(join(tmpdir(), 'opsconductor-first-start-'));
});
afterEach(async () => {
  await database.close();
  await rm(folder, { recursive: true });
});

describe('the installation', () => {
  test('is created once and is the same at every start, even if two servers start at once', async () => {
    const file = join(folder, 'master-key.json');
    const [one, other] = await Promise.all([
      openInstallation(database.sql, file),
      openInstallation(database.sql, file),
    ]);
    const later = await openInstallation(database.sql, file);
    expect(other.installationId).toBe(one.installationId);
    expect(later).toEqual(one);
    const message = new Uint8Array([1, 2, 3]);
    const signature = await sign(later.serverKey.privateKey, message);
    expect(await verify(one.serverKey.publicKey, message, signature)).toBe(true);
  });

  test('refuses another master key, and a missing one, by name', async () => {
    const { masterKey } = await openInstallation(database.sql, join(folder, 'a.json'));
    await expect(openInstallation(database.sql, join(folder, 'b.json'))).rejects.toThrow(masterKey.id);
    const elsewhere = await setupDatabase();
    try {
      await openInstallation(elsewhere.sql, join(folder, 'c.json'));
      await expect(openInstallation(database.sql, join(folder, 'c.json'))).rejects.toMatchObject({
        reason: 'wrong_master_key',
      });
    } finally {
      await elsewhere.close();
    }
  });

  test('does not start on a row whose public key was replaced', async () => {
    const file = join(folder, 'a.json');
    await openInstallation(database.sql, file);
    await database.sql`update installation set server_key = ${Buffer.alloc(32, 7)}`;
    await expect(openInstallation(database.sql, file)).rejects.toThrow('altered');
  });
});

describe('the administrator', () => {
  beforeEach(() => openInstallation(database.sql, join(folder, 'a.json')));

  test('is created once, even if two servers start at once', async () => {
    const made = await Promise.all(
      [1, 2, 3].map(() => bootstrapAdministrator({ sql: database.sql, now, bootstrapToken: undefined })),
    );
    expect(made.filter(Boolean)).toHaveLength(1);
    const users = await database.sql`select name from users`;
    expect(users.map((user) => user.name)).toEqual(['admin']);
  });

  test('has the bootstrap token of the first start, and a later one is not accepted', async () => {
    const { sql } = database;
    const authenticator = new Authenticator({ sql, now, sessionIdleMs: 1_000 });
    await bootstrapAdministrator({ sql, now, bootstrapToken });
    await bootstrapAdministrator({ sql, now, bootstrapToken: `${bootstrapToken}-later` });
    expect((await authenticator.byApiToken(bootstrapToken))?.authority.holdsEverywhere('jobs.edit')).toBe(
      true,
    );
    expect(await authenticator.byApiToken(`${bootstrapToken}-later`)).toBeUndefined();
    const stored = JSON.stringify(await sql`select prefix, name from api_tokens`);
    expect(stored).not.toContain(bootstrapToken.slice(0, 10));
  });

  test('is not created again after it was deleted', async () => {
    const { sql } = database;
    await bootstrapAdministrator({ sql, now, bootstrapToken });
    await sql`delete from users`;
    expect(await bootstrapAdministrator({ sql, now, bootstrapToken })).toBe(false);
  });
});
