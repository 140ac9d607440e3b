import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { FolderError, makeFolder } from './make-folder.ts';

const fix = 'Choose another one.';

async function setup(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'make-folder-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  return folder;
}

test('missing folders are made with exactly the given mode, and an existing one keeps its mode', async () => {
  const folder = await setup();
  await makeFolder(join(folder, 'a/b'), 0o711, fix);
  for (const made of ['a', 'a/b']) expect((await stat(join(folder, made))).mode & 0o777).toBe(0o711);
  await makeFolder(join(folder, 'a'), 0o700, fix);
  expect((await stat(join(folder, 'a'))).mode & 0o777).toBe(0o711);
});

test.runIf(process.platform === 'linux')(
  'a place where no folders can be made is reported at once, with what to do',
  async () => {
    const error = await makeFolder('/proc/nope/postgres', 0o700, fix).catch((caught) => caught);
    expect(error).toBeInstanceOf(FolderError);
    expect(error.message).toBe(
      'The folder /proc/nope can’t be made: no folders can be made in /proc. Choose another one.',
    );
  },
);

test('a file in the way is reported as such', async () => {
  const file = join(await setup(), 'file');
  await writeFile(file, '');
  await expect(makeFolder(join(file, 'below'), 0o700, fix)).rejects.toThrow(`${file} is not a folder`);
});
