import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { runningPostgresUrl } from './running-postgres.ts';
import { setup } from './testing/setup.ts';

test('the database that a server has started is found while it is running', async () => {
  const t = await setup({ begun: true });
  const database = await t.start();
  expect(await runningPostgresUrl(t.dataDir)).toBe(database.url);
  await database.stop();
  expect(await runningPostgresUrl(t.dataDir)).toBeUndefined();
});

test('a process that reuses the id of a postmaster ended by a power loss is not taken for it', async () => {
  const t = await setup({ begun: true });
  const database = await t.start();
  const file = join(t.dataDir, 'cluster/postmaster.pid');
  const content = await readFile(file, 'utf8');
  await database.stop();
  await writeFile(file, content.replace(/^\d+/, String(process.pid)));
  expect(await runningPostgresUrl(t.dataDir)).toBeUndefined();
});
