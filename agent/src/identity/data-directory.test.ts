import { readdir, writeFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { expect, test } from 'vitest';
import { temporaryDirectory } from '../testing/enrolled-directory.ts';
import { dataDirectory, prepareDataDirectory, removeIdentity } from './data-directory.ts';

test('with an identity, the spare spool files go that a killed process left, and what a person put there stays', async () => {
  const { path, remove } = await temporaryDirectory();
  try {
    const data = dataDirectory(path);
    await prepareDataDirectory(data);
    const spare = basename(data.spareSpool);
    for (const name of [spare, `${spare}.1`, `${spare}.31`, 'notes.txt'])
      await writeFile(`${path}/${name}`, '');
    await removeIdentity(data);
    expect(await readdir(path)).toEqual(['notes.txt']);
  } finally {
    await remove();
  }
});
