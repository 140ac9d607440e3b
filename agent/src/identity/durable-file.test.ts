import { type FileHandle, mkdir, open, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import { temporaryDirectory } from '../testing/enrolled-directory.ts';
import { createDurably, writeDurably } from './durable-file.ts';

/** A folder whose first sync fails, as on a disk with a passing fault; counts how often it was synced after that. */
async function setup() {
  const { path, remove } = await temporaryDirectory();
  onTestFinished(remove);
  const handle = await open(path);
  const prototype = Object.getPrototypeOf(handle) as FileHandle;
  await handle.close();
  const { sync } = prototype;
  const folder = { syncs: 0 };
  let hasFailed = false;
  const spy = vi.spyOn(prototype, 'sync').mockImplementation(async function (this: FileHandle) {
    const isFolder = (await this.stat()).isDirectory();
    if (isFolder && !hasFailed) {
      hasFailed = true;
      throw Object.assign(new Error('EIO: i/o error, fsync'), { code: 'EIO' });
    }
    await sync.call(this);
    if (isFolder) folder.syncs += 1;
  });
  onTestFinished(() => spy.mockRestore());
  return { file: join(path, 'key'), folder };
}

test('a file whose folder could not be synced when it was created is on disk once somebody finds it there', async () => {
  const { file, folder } = await setup();
  await expect(createDurably(file, 'first')).rejects.toThrow('EIO');
  expect(folder.syncs).toBe(0);
  expect(await createDurably(file, 'second')).toBe(false);
  expect(folder.syncs).toBe(1);
  expect(await readFile(file, 'utf8')).toBe('first');
});

test('a file that can not be put in its place leaves nothing beside it', async () => {
  const { path, remove } = await temporaryDirectory();
  onTestFinished(remove);
  await mkdir(join(path, 'key'));
  await expect(writeDurably(join(path, 'key'), 'first')).rejects.toThrow('EISDIR');
  expect(await readdir(path)).toEqual(['key']);
});
