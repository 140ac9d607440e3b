import { mkdtemp, rm, stat, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { PostgresLog } from './postgres-log.ts';

async function setup() {
  const folder = await mkdtemp(join(tmpdir(), 'postgres-log-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return new PostgresLog(folder);
}

test('the log is cut under its writer, who goes on at its start, and the older part is kept', async () => {
  const log = await setup();
  const writer = await log.open();
  await writer.write(Buffer.alloc(17 * 1024 * 1024, 'x'));
  await log.trim();
  await writer.write('after\n');
  await writer.close();

  expect(await log.size()).toBe(6);
  expect(await log.tail(20_000_000)).toBe('after');
  expect((await stat(`${log.path}.1`)).size).toBe(17 * 1024 * 1024);
});

test('a log that is a symlink is not written through', async () => {
  const log = await setup();
  await symlink('/dev/null', log.path);
  await expect(log.open()).rejects.toThrow(/ELOOP/);
});
