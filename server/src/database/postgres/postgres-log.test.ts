import { chown, mkdtemp, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { isRoot } from './postgres-account.ts';
import { PostgresLog } from './postgres-log.ts';

async function setup() {
  const folder = await mkdtemp(join(tmpdir(), 'postgres-log-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return new PostgresLog(folder);
}

async function fill(log: PostgresLog): Promise<void> {
  const writer = await log.open();
  await writer.write(Buffer.alloc(17 * 1024 * 1024, 'x'));
  await writer.close();
}

test('the log is truncated under its writer, which continues at the start, and the older part is kept', async () => {
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

test('a log that is a symlink is not followed', async () => {
  const log = await setup();
  await symlink('/dev/null', log.path);
  await expect(log.open()).rejects.toThrow(/ELOOP/);
});

test('if the log or its older part is a symlink, no other file is touched', async () => {
  const log = await setup();
  const other = join(dirname(log.path), 'other');
  await writeFile(other, 'other');
  await fill(log);
  await symlink(other, `${log.path}.1`);
  await log.trim();
  expect(await readFile(other, 'utf8')).toBe('other');
  expect((await stat(`${log.path}.1`)).size).toBe(17 * 1024 * 1024);

  await fill(log);
  await rename(log.path, other);
  await symlink(other, log.path);
  await expect(log.trim()).rejects.toThrow(/ELOOP/);
  expect((await stat(other)).size).toBe(17 * 1024 * 1024);
});

test.runIf(isRoot())(
  'a log that root truncates belongs to the folder’s owner, who can truncate it again',
  async () => {
    const log = await setup();
    await chown(dirname(log.path), 65_534, 65_534);
    await fill(log);
    await log.trim();
    expect((await stat(`${log.path}.1`)).uid).toBe(65_534);
  },
);
