import { createHash, randomBytes } from 'node:crypto';
import { getEventListeners } from 'node:events';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ContentAnswer, type ContentRequest, limits } from '@opsconductor/protocol';
import { expect, onTestFinished, test } from 'vitest';
import { FileCache } from './file-cache.ts';

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');
const never = new AbortController().signal;

/** A server with files, which records what it was asked for. */
async function setup(files: Record<string, Buffer>, maxBytes = 10_000_000) {
  const folder = await mkdtemp(join(tmpdir(), 'opsconductor-cache-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const asked: string[] = [];
  const sent = new Map(Object.entries(files));
  const answer = async (request: ContentRequest): Promise<ContentAnswer> => {
    if (request.do === 'find_file') {
      const bytes = files[request.name];
      if (bytes === undefined)
        return { problem: { reason: 'path_missing', message: 'No such file.', advice: 'Upload it.' } };
      return { file: { id: request.name, sha256: sha256(bytes), size: bytes.length } };
    }
    if (request.do !== 'read_file') throw new Error(`asked for ${request.do}`);
    asked.push(`${request.file} ${request.part}`);
    const at = request.part * limits.contentPartBytes;
    return {
      data:
        sent
          .get(request.file)
          ?.subarray(at, at + limits.contentPartBytes)
          .toString('base64') ?? '',
    };
  };
  const open = () => FileCache.open(folder, maxBytes);
  /** The server answers for the file's content after `beforeContent`. */
  const hold = (cache: FileCache, name: string, signal = never, beforeContent = Promise.resolve()) => {
    const ask = async (request: ContentRequest) => {
      const given = answer(request);
      if (request.do === 'read_file') await beforeContent;
      return given;
    };
    return cache.hold({ name, ask, signal, found: () => {}, moved: () => {} });
  };
  const blobs = async () => (await readdir(join(folder, 'blobs'))).length;
  return { folder, asked, sent, open, hold, blobs };
}

test('a file is fetched once for all steps that want it, and is there under its name while it is held', async () => {
  const bytes = randomBytes(3 * limits.contentPartBytes + 1);
  const t = await setup({ 'app.tar': bytes });
  const cache = await t.open();
  const held = await Promise.all([t.hold(cache, 'app.tar'), t.hold(cache, 'app.tar')]);
  expect(t.asked).toEqual(['app.tar 0', 'app.tar 1', 'app.tar 2', 'app.tar 3']);
  for (const { directory } of held) {
    expect(await readdir(directory)).toEqual(['app.tar']);
    expect((await readFile(join(directory, 'app.tar'))).equals(bytes)).toBe(true);
    expect((await stat(directory)).mode & 0o077).toBe(0);
  }
  for (const { release } of held) await release();
  expect(await readdir(join(t.folder, 'held'))).toEqual([]);
  // The next process still has it.
  await t.hold(await t.open(), 'app.tar');
  expect(t.asked).toHaveLength(4);
});

test('content that differs from what the server said, or was changed on disk, is not used', async () => {
  const bytes = Buffer.from('right');
  const t = await setup({ f: bytes });
  t.sent.set('f', Buffer.from('wrong'));
  const cache = await t.open();
  await expect(t.hold(cache, 'f')).rejects.toMatchObject({ reason: 'checksum_mismatch' });
  expect([await t.blobs(), await readdir(join(t.folder, 'partial'))]).toEqual([0, []]);
  t.sent.set('f', bytes);
  await (await t.hold(cache, 'f')).release();
  await writeFile(join(t.folder, 'blobs', sha256(bytes)), 'half');
  const { directory } = await t.hold(await t.open(), 'f');
  expect(await readFile(join(directory, 'f'), 'utf8')).toBe('right');
});

test('a file that somebody has removed from the cache, with or without its folder, is fetched again', async () => {
  const bytes = Buffer.from('kept');
  const t = await setup({ f: bytes });
  const cache = await t.open();
  for (const removed of [join('blobs', sha256(bytes)), 'blobs', 'held', 'partial', '']) {
    const before = await t.hold(cache, 'f');
    await rm(join(t.folder, removed), { recursive: true });
    const { directory, release } = await t.hold(cache, 'f');
    expect(await readFile(join(directory, 'f'), 'utf8'), removed).toBe('kept');
    await before.release();
    await release();
  }
});

test('a directory among the kept files is not taken for one', async () => {
  const t = await setup({ f: Buffer.from('f') }, 1);
  await mkdir(join(t.folder, 'blobs', 'lost+found'), { recursive: true });
  await (await t.hold(await t.open(), 'f')).release();
  expect(await readdir(join(t.folder, 'blobs'))).toContain('lost+found');
});

test('the least recently used files make room, but never those that are held', async () => {
  const files = Object.fromEntries(['a', 'b', 'c'].map((name) => [name, randomBytes(400)]));
  const t = await setup(files, 1_000);
  const cache = await t.open();
  const a = await t.hold(cache, 'a');
  await (await t.hold(cache, 'b')).release();
  await (await t.hold(cache, 'c')).release();
  expect(await t.blobs()).toBe(2);
  await (await t.hold(cache, 'a')).release();
  await (await t.hold(cache, 'c')).release();
  expect(t.asked).toEqual(['a 0', 'b 0', 'c 0']);
  await a.release();
  await (await t.hold(cache, 'b')).release();
  expect(t.asked).toEqual(['a 0', 'b 0', 'c 0', 'b 0']);
});

test('a step that stops waiting leaves the file to the others', async () => {
  const t = await setup({ f: Buffer.from('f') });
  const cache = await t.open();
  let answer = () => {};
  const first = t.hold(cache, 'f', never, new Promise<void>((resolve) => (answer = resolve)));
  await expect.poll(() => t.asked).toEqual(['f 0']);
  const stop = new AbortController();
  const second = t.hold(cache, 'f', stop.signal);
  await expect.poll(() => getEventListeners(stop.signal, 'abort')).toHaveLength(1);
  stop.abort(new Error('cancelled'));
  await expect(second).rejects.toThrow('cancelled');
  answer();
  expect(await readFile(join((await first).directory, 'f'), 'utf8')).toBe('f');
});

test('a step that has been stopped neither fetches a file nor gets one that is there', async () => {
  const t = await setup({ f: Buffer.from('f') });
  const cache = await t.open();
  const stopped = AbortSignal.abort(new Error('cancelled'));
  await expect(t.hold(cache, 'f', stopped)).rejects.toThrow('cancelled');
  expect(t.asked).toEqual([]);
  await t.hold(cache, 'f');
  await expect(t.hold(cache, 'f', stopped)).rejects.toThrow('cancelled');
});

test('a step that waited for the fetch of another no longer listens to its signal', async () => {
  const t = await setup({ f: Buffer.from('f') });
  const cache = await t.open();
  const stop = new AbortController();
  await Promise.all([t.hold(cache, 'f'), t.hold(cache, 'f', stop.signal)]);
  expect(getEventListeners(stop.signal, 'abort')).toEqual([]);
});

test('a file that the server does not have is reported', async () => {
  const t = await setup({});
  await expect(t.hold(await t.open(), 'f')).rejects.toMatchObject({ reason: 'path_missing' });
});

test('a file that somebody has removed or cut from the folder is fetched again', async () => {
  const bytes = randomBytes(1_000);
  const t = await setup({ 'app.tar': bytes });
  const cache = await t.open();
  await (await t.hold(cache, 'app.tar')).release();
  const blob = join(t.folder, 'blobs', sha256(bytes));
  for (const spoil of [() => rm(blob), () => writeFile(blob, 'half')]) {
    await spoil();
    const { directory, release } = await t.hold(cache, 'app.tar');
    expect((await readFile(join(directory, 'app.tar'))).equals(bytes)).toBe(true);
    await release();
  }
  expect(t.asked).toHaveLength(3);
});
