import { randomBytes } from 'node:crypto';
import { readdirSync, readlinkSync } from 'node:fs';
import { mkdir, readdir, readFile, rm, stat, truncate, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { decodeFrame, limits } from '@opsconductor/protocol';
import { expect, test, vi } from 'vitest';
import { temporaryDirectory } from '../testing/enrolled-directory.ts';
import { SpareFiles } from './spare-files.ts';
import { type NewChunk, SpoolFile } from './spool-file.ts';

async function setup() {
  const { path, remove } = await temporaryDirectory();
  return { folder: path, path: join(path, '1-1'), [Symbol.asyncDispose]: remove };
}

function chunk(seq: number, text: string): NewChunk {
  const raw = Buffer.from(text);
  return {
    header: {
      stream: seq % 2 === 0 ? 'stderr' : 'stdout',
      step: 1,
      epoch: 1,
      seq,
      rawLength: raw.length,
      elapsedMs: seq,
    },
    bytes: gzipSync(raw),
  };
}

test('chunks are read back as the frames that were appended', async () => {
  await using t = await setup();
  const file = SpoolFile.create(t.path);
  const placed = [
    ...(await file.append([chunk(1, 'one'), chunk(2, 'two')])),
    ...(await file.append([chunk(3, 'x')])),
  ];
  for (const { chunk: spooled, frame } of placed) expect(await file.readFrame(spooled)).toEqual(frame);
  expect(decodeFrame(await file.readFrame(placed[1]?.chunk as never), limits.maxChunkRawBytes)).toMatchObject(
    {
      seq: 2,
      stream: 'stderr',
      rawLength: 3,
      elapsedMs: 2,
    },
  );
  await file.close();
});

test('another process finds the chunks, and continues after them', async () => {
  await using t = await setup();
  const file = SpoolFile.create(t.path);
  const placed = await file.append([chunk(1, 'one'), chunk(2, 'two')]);
  await file.close();
  const { file: again, chunks } = await SpoolFile.recover(t.path);
  expect(chunks).toEqual(placed.map(({ chunk: spooled }) => spooled));
  const [third] = await again.append([chunk(3, 'three')]);
  expect(await again.readFrame(third?.chunk as never)).toEqual(third?.frame);
  await again.close();
});

test('wherever a crash tears the file, the complete chunks before that are kept', async () => {
  await using t = await setup();
  const file = SpoolFile.create(t.path);
  const placed = await file.append([chunk(1, 'one'), chunk(2, 'two'), chunk(3, 'three')]);
  await file.close();
  const whole = await readFile(t.path);
  const ends = placed.map(({ chunk: { offset, frameBytes } }) => offset + frameBytes);
  for (let length = 0; length <= whole.length; length++) {
    await writeFile(t.path, whole.subarray(0, length));
    const { file: again, chunks } = await SpoolFile.recover(t.path);
    expect(chunks).toHaveLength(ends.filter((end) => end <= length).length);
    expect((await readFile(t.path)).length).toBe(ends[chunks.length - 1] ?? 0);
    await again.close();
  }
});

test('if a bit is flipped anywhere, only the chunks before it are kept', async () => {
  await using t = await setup();
  const file = SpoolFile.create(t.path);
  const placed = await file.append([chunk(1, 'one'), chunk(2, 'two')]);
  await file.close();
  const whole = await readFile(t.path);
  const firstEnd = (placed[0]?.chunk.offset ?? 0) + (placed[0]?.chunk.frameBytes ?? 0);
  for (let at = 0; at < whole.length; at++) {
    const damaged = Buffer.from(whole);
    damaged[at] = (damaged[at] ?? 0) ^ 1;
    await writeFile(t.path, damaged);
    const { file: again, chunks } = await SpoolFile.recover(t.path);
    expect(chunks).toHaveLength(at < firstEnd ? 0 : 1);
    await again.close();
  }
});

test('chunks that do not continue the numbers before them are not kept', async () => {
  await using t = await setup();
  const file = SpoolFile.create(t.path);
  const [, second] = await file.append([chunk(5, 'five'), chunk(6, 'six'), chunk(8, 'eight')]);
  await file.close();
  const { file: again, chunks } = await SpoolFile.recover(t.path, 5);
  expect(chunks.map(({ seq }) => seq)).toEqual([5, 6]);
  expect(again.bytes).toBe((second?.chunk.offset ?? 0) + (second?.chunk.frameBytes ?? 0));
  await again.close();
  // Of an attempt whose first chunk here is another one.
  expect((await SpoolFile.recover(t.path, 1)).chunks).toEqual([]);
});

test('a file that was never created recovers as empty', async () => {
  await using t = await setup();
  expect((await SpoolFile.recover(t.path)).chunks).toEqual([]);
});

test('reading a chunk that was cut off meanwhile gives an error, not wrong bytes', async () => {
  await using t = await setup();
  const file = SpoolFile.create(t.path);
  const [placed] = await file.append([chunk(1, 'one')]);
  await truncate(t.path, 50);
  await expect(file.readFrame(placed?.chunk as never)).rejects.toThrow('shorter');
  await file.close();
});

/** Returns the paths of what this process has open there. */
function openIn(folder: string): string[] {
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      const path = readlinkSync(`/proc/self/fd/${fd}`);
      return path.startsWith(folder) ? [path] : [];
    } catch {
      // It was closed meanwhile.
      return [];
    }
  });
}

/** A spare whose file exists. */
async function spareIn(folder: string) {
  const spares = new SpareFiles(join(folder, 'spare'));
  spares.take(join(folder, 'none'));
  await vi.waitFor(() => stat(join(folder, 'spare')), { timeout: 10_000 });
  return spares;
}

test('the spare file becomes the spool of the attempt that has output first, and another takes its place', async () => {
  await using t = await setup();
  const spares = await spareIn(t.folder);
  const { ino } = await stat(join(t.folder, 'spare'));
  const silent = SpoolFile.create(join(t.folder, '2-1'), { spares });
  const file = SpoolFile.create(t.path, { spares });
  await file.append([chunk(1, 'one')]);
  expect((await stat(t.path)).ino).toBe(ino);
  await file.close();
  const { chunks } = await SpoolFile.recover(t.path);
  expect(chunks).toMatchObject([{ seq: 1 }]);
  await vi.waitFor(() => stat(join(t.folder, 'spare')), { timeout: 10_000 });
  await silent.remove();
  await spares.remove();
  expect(await readdir(t.folder)).toEqual(['1-1']);
});

test('a spool that is no longer needed becomes a spare file, with nothing of it left', async () => {
  await using t = await setup();
  const spares = await spareIn(t.folder);
  const first = SpoolFile.create(t.path, { spares });
  await first.append([chunk(1, 'of the first attempt')]);
  const { ino } = await stat(t.path);
  await vi.waitFor(() => stat(join(t.folder, 'spare')), { timeout: 10_000 });
  await first.remove();
  expect((await readdir(t.folder)).sort()).toEqual(['spare', 'spare.1']);
  expect((await stat(join(t.folder, 'spare.1'))).size).toBe(0);
  await expect(first.readFrame(undefined as never)).rejects.toThrow('without a file');
  const second = SpoolFile.create(join(t.folder, '2-1'), { spares });
  second.takeSpare();
  expect((await stat(join(t.folder, '2-1'))).ino).toBe(ino);
  await second.append([chunk(1, 'two')]);
  await second.close();
  const { chunks } = await SpoolFile.recover(join(t.folder, '2-1'));
  expect(chunks.map(({ seq, rawLength }) => [seq, rawLength])).toEqual([[1, 3]]);
  await spares.remove();
  expect(await readdir(t.folder)).toEqual(['2-1']);
});

test('a large spool is removed, and so is one when enough spare files are there', async () => {
  await using t = await setup();
  const spares = await spareIn(t.folder);
  const large = SpoolFile.create(t.path, { spares });
  await large.append([chunk(1, randomBytes(100_000).toString('hex'))]);
  await large.remove();
  await vi.waitFor(async () => expect(await readdir(t.folder)).toEqual(['spare']), { timeout: 10_000 });
  const many = Array.from({ length: 40 }, (_, n) => SpoolFile.create(join(t.folder, `${n}-1`), { spares }));
  for (const file of many) await file.append([chunk(1, 'one')]);
  for (const file of many) await file.remove();
  await vi.waitFor(async () => expect(await readdir(t.folder)).toHaveLength(32), { timeout: 10_000 });
  expect((await readdir(t.folder)).filter((name) => !name.startsWith('spare'))).toEqual([]);
  await spares.remove();
  expect(await readdir(t.folder)).toEqual([]);
});

test('a spool does not become a spare file while it is read', async () => {
  await using t = await setup();
  const spares = await spareIn(t.folder);
  const file = SpoolFile.create(t.path, { spares });
  const [placed] = await file.append([chunk(1, 'one')]);
  const [frame] = await Promise.all([file.readFrame(placed?.chunk as never), file.remove()]);
  expect(frame.equals(placed?.frame as Buffer)).toBe(true);
  await spares.remove();
});

test('nor while it is read by those who came later', async () => {
  await using t = await setup();
  const spares = await spareIn(t.folder);
  const file = SpoolFile.create(t.path, { spares });
  const [placed] = await file.append([chunk(1, 'one')]);
  const read = () => file.readFrame(placed?.chunk as never);
  const first = read();
  const removed = file.remove();
  for (const frame of await Promise.all([first, ...Array.from({ length: 10_000 }, read)]))
    expect(frame.equals(placed?.frame as Buffer)).toBe(true);
  await removed;
  await spares.remove();
});

test('a spool that is given back while a spare file is being made, or after they were removed, is in nobody’s way', async () => {
  await using t = await setup();
  const spares = new SpareFiles(join(t.folder, 'spare'));
  const [early, late] = [
    SpoolFile.create(t.path, { spares }),
    SpoolFile.create(join(t.folder, '2-1'), { spares }),
  ];
  // Takes none, so that one will be made.
  await early.append([chunk(1, 'one')]);
  // By now it is being created.
  await new Promise(setImmediate);
  await early.remove();
  expect(await readdir(t.folder)).not.toContain('1-1');
  await vi.waitFor(async () => expect((await readdir(t.folder)).sort()).toEqual(['spare', 'spare.1']), {
    timeout: 10_000,
  });
  await late.append([chunk(1, 'one')]);
  await spares.remove();
  await late.remove();
  expect(await readdir(t.folder)).toEqual([]);
  expect(openIn(t.folder)).toEqual([]);
});

test('a spare file that is gone, or that can’t be kept, costs an attempt nothing and leaves nothing open', async () => {
  await using t = await setup();
  const kept = join(t.folder, 'kept');
  await mkdir(kept);
  const spares = await spareIn(kept);
  await rm(kept, { recursive: true });
  const file = SpoolFile.create(t.path, { spares });
  await file.append([chunk(1, 'one')]);
  expect((await stat(t.path)).size).toBe(file.bytes);
  await file.remove();
  expect(await readdir(t.folder)).toEqual([]);
  await spares.remove();
  expect(openIn(t.folder)).toEqual([]);
});

test('what a process left that was killed is removed with the spare files', async () => {
  await using t = await setup();
  for (const name of ['spare', 'spare.7']) await writeFile(join(t.folder, name), 'left');
  const spares = await spareIn(t.folder);
  await spares.remove();
  expect(await readdir(t.folder)).toEqual([]);
});

test('an attempt that expects output takes the spare file before it comes, and leaves none if none comes', async () => {
  await using t = await setup();
  const spares = await spareIn(t.folder);
  const { ino } = await stat(join(t.folder, 'spare'));
  const file = SpoolFile.create(t.path, { spares });
  file.takeSpare();
  expect((await stat(t.path)).ino).toBe(ino);
  await file.append([chunk(1, 'one')]);
  expect((await stat(t.path)).ino).toBe(ino);
  await file.close();
  await vi.waitFor(() => stat(join(t.folder, 'spare')), { timeout: 10_000 });
  const silent = SpoolFile.create(join(t.folder, '2-1'), { spares });
  silent.takeSpare();
  expect(await readdir(t.folder)).toContain('2-1');
  await silent.remove();
  await spares.remove();
  expect(await readdir(t.folder)).toEqual(['1-1']);
});

test('a spare that is there only while the first chunk’s file is created does not replace that file', async () => {
  await using t = await setup();
  const take = vi.fn().mockReturnValueOnce(undefined);
  const file = SpoolFile.create(t.path, { spares: { take, giveBack: () => false } });
  // Does not become small enough to be written at once.
  const large = randomBytes(8_192).toString('hex');
  const appended = file.append([chunk(1, large)]);
  file.takeSpare();
  const [placed] = await appended;
  expect(take).toHaveBeenCalledTimes(1);
  expect(await file.readFrame(placed?.chunk as never)).toEqual(placed?.frame);
  await file.close();
});

test('two attempts that have output at the same time get separate files', async () => {
  await using t = await setup();
  const spares = await spareIn(t.folder);
  const files = ['1-1', '2-1', '3-1'].map((name) => SpoolFile.create(join(t.folder, name), { spares }));
  await Promise.all(files.map((file, at) => file.append([chunk(1, `of ${at}`)])));
  for (const file of files) await file.close();
  const found = await Promise.all(
    ['1-1', '2-1', '3-1'].map((name) => SpoolFile.recover(join(t.folder, name))),
  );
  expect(found.map(({ chunks }) => chunks.length)).toEqual([1, 1, 1]);
  await spares.remove();
  expect(await readdir(t.folder)).toEqual(['1-1', '2-1', '3-1']);
});

test('if somebody has removed the spare file, the spool is created as without one', async () => {
  await using t = await setup();
  const spares = await spareIn(t.folder);
  await unlink(join(t.folder, 'spare'));
  const file = SpoolFile.create(t.path, { spares });
  const [placed] = await file.append([chunk(1, 'one')]);
  expect(await file.readFrame(placed?.chunk as never)).toEqual(placed?.frame);
  await spares.remove();
});
