import { mkdir, readdir, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { temporaryDirectory } from '../testing/enrolled-directory.ts';
import { isSetAside, openSpool } from './open-spool.ts';
import { Spool } from './spool.ts';
import type { NewChunk } from './spool-file.ts';
import { SpooledChunks } from './spooled-chunks.ts';

const chunk: NewChunk = {
  header: { stream: 'stdout', step: 1, epoch: 1, seq: 1, rawLength: 1, elapsedMs: 1 },
  bytes: gzipSync('x'),
};

test('what can’t be read is set aside with all that is in it, and the attempt has a new file', async () => {
  const { path, remove } = await temporaryDirectory();
  await using _ = { [Symbol.asyncDispose]: remove };
  await mkdir(join(path, '1-1'));
  await writeFile(join(path, '1-1', 'content'), '');
  const { spool, chunks, unreadable } = await openSpool(join(path, '1-1'), 1);
  expect(chunks).toEqual([]);
  expect(unreadable?.error).toMatchObject({ code: 'EISDIR' });
  expect(await readdir(unreadable?.path ?? '')).toEqual(['content']);
  await spool.append([chunk]);
  await spool.close();
  const again = await openSpool(join(path, '1-1'), 1);
  expect(again).toMatchObject({ chunks: [{ seq: 1 }] });
  expect(again.unreadable).toBeUndefined();
  await again.spool.close();
  expect((await readdir(path)).filter(isSetAside)).toHaveLength(1);
});

test('if one of several files can’t be read, it is set aside with those after it, and what comes before it stays', async () => {
  const { path, remove } = await temporaryDirectory();
  await using _ = { [Symbol.asyncDispose]: remove };
  const place = join(path, '1-1');
  const chunks = new SpooledChunks(Spool.create(place, { partBytes: 1 }));
  for (const seq of [1, 2, 3]) await chunks.append([{ ...chunk, header: { ...chunk.header, seq } }]);
  await chunks.close();
  await unlink(`${place}.2`);
  await mkdir(`${place}.2`);
  const { spool, chunks: left, unreadable } = await openSpool(place, 1);
  expect(left.map(({ seq }) => seq)).toEqual([1]);
  expect(unreadable).toMatchObject({
    error: { code: 'EISDIR' },
    path: expect.stringContaining('1-1.2.unre'),
  });
  await spool.close();
  const names = (await readdir(path)).map((name) => name.replace(/-\d{10,}$/, ''));
  expect(names.sort()).toEqual(['1-1', '1-1.2.unreadable', '1-1.3.unreadable']);
  expect((await openSpool(place, 1)).chunks).toHaveLength(1);
});

test('what can’t be set aside either stays in its place, and nothing is written over it', async () => {
  const { path, remove } = await temporaryDirectory();
  await using _ = { [Symbol.asyncDispose]: remove };
  // As long as a name may be, so that it can't be given a longer one.
  const place = join(path, 'x'.repeat(255));
  await mkdir(place);
  const { spool, unreadable } = await openSpool(place, 1);
  expect(unreadable?.path).toBe(place);
  await expect(spool.append([chunk])).rejects.toThrow('EISDIR');
  await spool.remove();
  expect(await readdir(path)).toEqual(['x'.repeat(255)]);
});
