import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { temporaryDirectory } from '../testing/enrolled-directory.ts';
import { isSetAside, openSpool } from './open-spool.ts';
import type { NewChunk } from './spool-file.ts';

const chunk: NewChunk = {
  header: { stream: 'stdout', step: 1, epoch: 1, seq: 1, rawLength: 1, elapsedMs: 1 },
  bytes: gzipSync('x'),
};

test('what can’t be read is set aside with all that is in it, and the attempt has a new file', async () => {
  const { path, remove } = await temporaryDirectory();
  await using _ = { [Symbol.asyncDispose]: remove };
  await mkdir(join(path, '1-1'));
  await writeFile(join(path, '1-1', 'content'), '');
  const { file, chunks, unreadable } = await openSpool(join(path, '1-1'), 1);
  expect(chunks).toEqual([]);
  expect(unreadable?.error).toMatchObject({ code: 'EISDIR' });
  expect(await readdir(unreadable?.path ?? '')).toEqual(['content']);
  await file.append([chunk]);
  await file.close();
  const again = await openSpool(join(path, '1-1'), 1);
  expect(again).toMatchObject({ chunks: [{ seq: 1 }] });
  expect(again.unreadable).toBeUndefined();
  await again.file.close();
  expect((await readdir(path)).filter(isSetAside)).toHaveLength(1);
});

test('what can’t be set aside either stays in its place, and nothing is written over it', async () => {
  const { path, remove } = await temporaryDirectory();
  await using _ = { [Symbol.asyncDispose]: remove };
  // As long as a name may be, so that it can't be given a longer one.
  const place = join(path, 'x'.repeat(255));
  await mkdir(place);
  const { file, unreadable } = await openSpool(place, 1);
  expect(unreadable?.path).toBe(place);
  await expect(file.append([chunk])).rejects.toThrow('EISDIR');
  await file.remove();
  expect(await readdir(path)).toEqual(['x'.repeat(255)]);
});
