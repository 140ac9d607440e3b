// A disk may take only part of a write, as one that is nearly full does.
import type { WriteVResult } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { expect, test, vi } from 'vitest';
import { temporaryDirectory } from '../testing/enrolled-directory.ts';
import { openFiles } from '../testing/open-files.ts';
import { type NewChunk, SpoolFile } from './spool-file.ts';

const { disk } = vi.hoisted(() => ({
  disk: {
    /** Bytes that each write takes at most. */
    atATime: 37,
    /** Bytes that it takes at all. */
    room: Number.POSITIVE_INFINITY,
  },
}));

vi.mock('node:fs', async (importOriginal) => {
  const fs = await importOriginal<typeof import('node:fs')>();
  const { promisify } = await import('node:util');
  const part = (parts: readonly Buffer[]) => {
    if (disk.room === 0) throw Object.assign(new Error('full'), { code: 'ENOSPC' });
    const written = Buffer.concat(parts).subarray(0, Math.min(disk.atATime, disk.room));
    disk.room -= written.length;
    return [written];
  };
  const writevSync = ((fd: number, parts: readonly Buffer[], at?: number) =>
    fs.writevSync(fd, part(parts), at)) as typeof fs.writevSync;
  const whole = promisify(fs.writev) as (...args: unknown[]) => Promise<WriteVResult<never>>;
  const writev = Object.assign(() => undefined, {
    [promisify.custom]: async (fd: number, parts: readonly Buffer[], at?: number) =>
      await whole(fd, part(parts), at),
  });
  return { ...fs, writevSync, writev };
});

function chunksOf(bytes: number): NewChunk[] {
  return [1, 2, 3].map((seq) => ({
    header: { stream: 'stdout', step: 1, epoch: 1, seq, rawLength: bytes, elapsedMs: 0 },
    bytes: gzipSync(Buffer.alloc(bytes, `${seq} of the output`), { level: 0 }),
  }));
}

test.each([20, 6_000])(
  'a write of %i bytes that a full disk refuses leaves nothing of itself',
  async (bytes) => {
    const { path, remove } = await temporaryDirectory();
    const place = join(path, '1-1');
    const file = SpoolFile.create(place);
    const [first, ...rest] = chunksOf(bytes);
    const placed = await file.append([first as NewChunk]);
    const size = (await stat(place)).size;
    disk.room = 100;
    await expect(file.append(rest)).rejects.toThrow('full');
    expect((await stat(place)).size).toBe(size);
    disk.room = Number.POSITIVE_INFINITY;
    placed.push(...(await file.append(rest)));
    await file.close();
    const again = await SpoolFile.recover(place);
    expect(again.chunks).toEqual(placed.map(({ chunk }) => chunk));
    await again.file.close();
    await remove();
  },
);

test.each([0, 20])(
  'if a full disk takes %i bytes of what comes before a file, there is no such file',
  async (room) => {
    const { path, remove } = await temporaryDirectory();
    const place = join(path, '1-1.4');
    const file = SpoolFile.create(place, { base: { seq: 3, rawBytes: 30, digest: 'AAAA' } });
    disk.room = room;
    expect(() => file.writeBase()).toThrow();
    disk.room = Number.POSITIVE_INFINITY;
    expect(await readdir(path)).toEqual([]);
    expect(await openFiles(place)).toEqual([]);
    await remove();
  },
);

test.each([
  ['small', 20],
  ['large', 6_000],
])('chunks are stored whole although the disk takes few bytes at a time, in a %s write', async (_, bytes) => {
  const { path, remove } = await temporaryDirectory();
  const file = SpoolFile.create(join(path, '1-1'));
  const chunks = chunksOf(bytes);
  const placed = [...(await file.append(chunks.slice(0, 2))), ...(await file.append(chunks.slice(2)))];
  await file.close();
  const again = await SpoolFile.recover(join(path, '1-1'));
  expect(again.chunks).toEqual(placed.map(({ chunk }) => chunk));
  await again.file.close();
  await remove();
});
