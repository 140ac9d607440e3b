import { expect, onTestFinished, test } from 'vitest';
import { MemoryShare } from '../memory-share.ts';
import { type Mover, maxSmallBytes, type SmallFile, SmallFiles } from './small-files.ts';

test('the largest small files are moved together, however many transfers share the memory', async () => {
  const shares = Array.from({ length: 16 }, () => new MemoryShare());
  onTestFinished(() => {
    for (const share of shares) share.release();
  });
  const batches: number[] = [];
  const mover: Mover = {
    async move(files) {
      batches.push(files.length);
      return files.map(() => ({ bytes: 0 }) as never);
    },
    takes: () => true,
    end: async () => undefined,
    stop: async () => undefined,
  };
  const files = new SmallFiles(mover, {
    signal: new AbortController().signal,
    share: shares[0] as MemoryShare,
  });
  const file = { size: maxSmallBytes, mtimeS: 0 } as SmallFile;
  const moved = await Promise.all(Array.from({ length: 24 }, () => files.move(file, () => undefined)));
  await files.end();
  expect(batches).toEqual([12, 12]);
  expect(moved).not.toContain(undefined);
});
