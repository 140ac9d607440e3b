// A disk may take only part of a write, as one that is nearly full does.
import type { WriteVResult } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { expect, test, vi } from 'vitest';
import { temporaryDirectory } from '../testing/enrolled-directory.ts';
import { SpoolFile } from './spool-file.ts';

/** Bytes that each write takes at most. */
const atATime = 37;

vi.mock('node:fs', async (importOriginal) => {
  const fs = await importOriginal<typeof import('node:fs')>();
  const { promisify } = await import('node:util');
  const part = (parts: readonly Buffer[]) => [Buffer.concat(parts).subarray(0, atATime)];
  const writevSync = ((fd: number, parts: readonly Buffer[], at?: number) =>
    fs.writevSync(fd, part(parts), at)) as typeof fs.writevSync;
  const whole = promisify(fs.writev) as (...args: unknown[]) => Promise<WriteVResult<never>>;
  const writev = Object.assign(() => undefined, {
    [promisify.custom]: (fd: number, parts: readonly Buffer[], at?: number) => whole(fd, part(parts), at),
  });
  return { ...fs, writevSync, writev };
});

test.each([
  ['small', 20],
  ['large', 6_000],
])('chunks are stored whole although the disk takes few bytes at a time, in a %s write', async (_, bytes) => {
  const { path, remove } = await temporaryDirectory();
  const file = SpoolFile.create(join(path, '1-1'));
  const chunks = [1, 2, 3].map((seq) => ({
    header: { stream: 'stdout', step: 1, epoch: 1, seq, rawLength: bytes, elapsedMs: 0 } as const,
    bytes: gzipSync(Buffer.alloc(bytes, `${seq} of the output`), { level: 0 }),
  }));
  const placed = [...(await file.append(chunks.slice(0, 2))), ...(await file.append(chunks.slice(2)))];
  await file.close();
  const again = await SpoolFile.recover(join(path, '1-1'));
  expect(again.chunks).toEqual(placed.map(({ chunk }) => chunk));
  await again.file.close();
  await remove();
});
