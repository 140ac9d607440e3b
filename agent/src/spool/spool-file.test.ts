import { readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { decodeFrame, limits } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { temporaryDirectory } from '../testing/enrolled-directory.ts';
import { type NewChunk, SpoolFile } from './spool-file.ts';

async function setup() {
  const { path, remove } = await temporaryDirectory();
  return { path: join(path, '1-1'), [Symbol.asyncDispose]: remove };
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

test('another process finds the chunks, and goes on after them', async () => {
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

test('wherever a crash tears the file, the whole chunks before it are kept', async () => {
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

test('a flipped bit anywhere ends what is kept at the chunk before it', async () => {
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

test('a file that was never made recovers as empty', async () => {
  await using t = await setup();
  expect((await SpoolFile.recover(t.path)).chunks).toEqual([]);
});

test('a chunk that was cut off under a reader is an error, not wrong bytes', async () => {
  await using t = await setup();
  const file = SpoolFile.create(t.path);
  const [placed] = await file.append([chunk(1, 'one')]);
  await truncate(t.path, 50);
  await expect(file.readFrame(placed?.chunk as never)).rejects.toThrow('shorter');
  await file.close();
});
