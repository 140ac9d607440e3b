import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { temporaryDirectory } from '../testing/enrolled-directory.ts';
import { lockDirectory, lockHolder } from './directory-lock.ts';

async function setup() {
  const { path, remove } = await temporaryDirectory();
  return { path: join(path, 'lock'), [Symbol.asyncDispose]: remove };
}

test('a directory is held by one at a time', async () => {
  await using t = await setup();
  const lock = await lockDirectory(t.path);
  expect(await lockHolder(t.path)).toBe(process.pid);
  await expect(lockDirectory(t.path)).rejects.toThrow(`process ${process.pid}`);
  await lock.release();
  expect(await lockHolder(t.path)).toBeUndefined();
  await (await lockDirectory(t.path)).release();
});

test('the lock of a process that is gone is taken over', async () => {
  await using t = await setup();
  const child = spawn(process.execPath, ['-e', '']);
  await once(child, 'exit');
  await writeFile(t.path, `${child.pid} boot 1`);
  await (await lockDirectory(t.path)).release();
});

test.runIf(process.platform === 'linux')(
  'a process id that was given to another process holds nothing',
  async () => {
    await using t = await setup();
    const child = spawn(process.execPath, ['-e', 'process.stdin.resume()']);
    await once(child, 'spawn');
    await writeFile(t.path, `${child.pid} another-boot 1`);
    expect(await lockHolder(t.path)).toBeUndefined();
    child.stdin.end();
    await once(child, 'exit');
  },
);
