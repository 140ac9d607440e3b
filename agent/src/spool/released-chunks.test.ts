// Output that the server has confirmed is removed from a disk that is nearly full, and what is left can be continued.
import { randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { decodeFrame, limits } from '@opsconductor/protocol';
import { expect, onTestFinished, test } from 'vitest';
import type { OutputStream } from '../steps/step-type.ts';
import { temporaryDirectory } from '../testing/enrolled-directory.ts';
import { openFiles } from '../testing/open-files.ts';
import { openSpool } from './open-spool.ts';
import { Spool } from './spool.ts';
import type { NewChunk } from './spool-file.ts';
import { SpooledChunks } from './spooled-chunks.ts';

const chunkBytes = 40_000;
/** The third chunk of a file fills it. */
const partBytes = 110_000;

/** A chunk that no compression makes smaller. */
function newChunk(seq: number, stream: OutputStream, text: string): NewChunk {
  const raw = Buffer.concat([Buffer.from(text), randomBytes(chunkBytes)]);
  const header = { stream, step: 1, epoch: 1, elapsedMs: 0, seq, rawLength: raw.length };
  return { header, bytes: gzipSync(raw) };
}

/** Puts each text at the beginning of a chunk of its own. */
async function store(chunks: SpooledChunks, all: [OutputStream, string][]): Promise<void> {
  for (const [stream, text] of all) await chunks.append([newChunk(chunks.lastSeq + 1, stream, text)]);
}

const tenChunks = Array.from({ length: 10 }, (_, at): [OutputStream, string] => ['stdout', `${at + 1}`]);

async function setup({ keepsEnds = false, all = tenChunks } = {}) {
  const { path: folder, remove } = await temporaryDirectory();
  onTestFinished(remove);
  const path = join(folder, '1-1');
  const chunks = new SpooledChunks(Spool.create(path, { partBytes }), { keepsEnds });
  await store(chunks, all);
  return { chunks, path, names: async () => (await readdir(folder)).sort() };
}

/** Ends a process and begins another one. */
async function restarted({ chunks, path }: { chunks: SpooledChunks; path: string }) {
  await chunks.close();
  const { spool, chunks: recovered, base } = await openSpool(path, 1);
  return new SpooledChunks(spool, { recovered, base });
}

async function sentBy(chunks: SpooledChunks): Promise<number[]> {
  const sent: number[] = [];
  while (chunks.hasUnsent) {
    const frame = decodeFrame(await chunks.takeFrame(), limits.maxChunkRawBytes);
    if (frame !== undefined) sent.push(frame.seq);
  }
  return sent;
}

test('files whose chunks are all confirmed go, and the others stay', async () => {
  const t = await setup();
  expect(await t.names()).toEqual(['1-1', '1-1.10', '1-1.4', '1-1.7']);
  const stored = t.chunks.storedBytes;
  t.chunks.acknowledge(2);
  expect(await t.chunks.release()).toBe(0);
  t.chunks.acknowledge(7);
  const freed = await t.chunks.release();
  expect(await t.names()).toEqual(['1-1.10', '1-1.7']);
  expect(freed).toBeGreaterThan(6 * chunkBytes);
  expect(t.chunks.storedBytes).toBe(stored - freed);
  expect(await t.chunks.release()).toBe(0);
  t.chunks.sendFrom(1);
  expect(await sentBy(t.chunks)).toEqual([7, 8, 9, 10]);
});

test('numbers, sizes and the digest go on as if nothing had been removed, in the next process too', async () => {
  const t = await setup();
  const { lastSeq, rawBytes, digest } = t.chunks;
  t.chunks.acknowledge(7);
  await t.chunks.release();
  const next = await restarted(t);
  expect([next.lastSeq, next.rawBytes, next.digest]).toEqual([lastSeq, rawBytes, digest]);
  expect(next.baseSeq).toBe(6);
  expect(await sentBy(next)).toEqual([7, 8, 9, 10]);
  await store(next, [['stderr', '11']]);
  expect(await sentBy(next)).toEqual([11]);
});

test('if everything is confirmed, only what came before is left, and the next process goes on from there', async () => {
  const t = await setup();
  const { rawBytes, digest } = t.chunks;
  await store(t.chunks, [['stdout', '11']]);
  t.chunks.acknowledge(11);
  await t.chunks.release();
  expect(await t.names()).toEqual(['1-1.12']);
  expect(t.chunks.storedBytes).toBeLessThan(1_000);
  const next = await restarted(t);
  expect(next.lastSeq).toBe(11);
  expect(next.rawBytes).toBe(rawBytes + chunkBytes + 2);
  expect(next.digest).not.toBe(digest);
  expect(next.digest).toBe(t.chunks.digest);
  await store(next, [['stdout', '12']]);
  expect(await sentBy(next)).toEqual([12]);
  await next.remove();
  expect(await t.names()).toEqual([]);
});

test('a chunk that is being read back for sending stays', async () => {
  const t = await setup();
  // As after a connection that was lost before the server's confirmation came.
  await sentBy(t.chunks);
  t.chunks.sendFrom(1);
  const reading = t.chunks.takeFrame();
  t.chunks.acknowledge(10);
  expect(await t.chunks.release()).toBe(0);
  expect(decodeFrame(await reading, limits.maxChunkRawBytes)?.seq).toBe(1);
  expect(await t.chunks.release()).toBeGreaterThan(9 * chunkBytes);
});

test('a file that is being written stays', async () => {
  const t = await setup();
  await store(t.chunks, [['stdout', '11']]);
  t.chunks.acknowledge(11);
  const storing = t.chunks.append([newChunk(12, 'stdout', '12')]);
  await t.chunks.release();
  await storing;
  expect(await t.names()).toEqual(['1-1.10']);
  const next = await restarted(t);
  expect([next.lastSeq, next.digest]).toEqual([12, t.chunks.digest]);
});

/** Something is in the way of a file until that is called again. */
async function block(path: string): Promise<() => Promise<void>> {
  await mkdir(path);
  return () => rmdir(path);
}

test('what comes before a file that is not there yet stays', async () => {
  const t = await setup({ all: tenChunks.slice(0, 3) });
  t.chunks.acknowledge(3);
  const storing = t.chunks.append([newChunk(4, 'stdout', '4')]);
  expect(await t.chunks.release()).toBe(0);
  expect(await t.names()).toContain('1-1');
  await storing;
  expect(await t.chunks.release()).toBeGreaterThan(3 * chunkBytes);
  expect(await t.names()).toEqual(['1-1.4']);
  expect((await restarted(t)).digest).toBe(t.chunks.digest);
});

test('if the next file is refused, what comes before it stays until its beginning could be written', async () => {
  const t = await setup({ all: tenChunks.slice(0, 3) });
  const giveBack = await block(`${t.path}.4`);
  await expect(store(t.chunks, [['stdout', '4']])).rejects.toThrow('EISDIR');
  t.chunks.acknowledge(3);
  await expect(t.chunks.release()).rejects.toThrow('EISDIR');
  expect(await t.names()).toContain('1-1');
  await giveBack();
  expect(await t.chunks.release()).toBeGreaterThan(3 * chunkBytes);
  expect(await t.names()).toEqual(['1-1.4']);
  const next = await restarted(t);
  expect([next.lastSeq, next.digest]).toEqual([3, t.chunks.digest]);
});

test('files that are full go although the disk has no room to replace the last one', async () => {
  const t = await setup();
  await store(t.chunks, [['stdout', '11']]);
  t.chunks.acknowledge(11);
  await block(`${t.path}.12`);
  expect(await t.chunks.release()).toBeGreaterThan(9 * chunkBytes);
  expect(await t.names()).toEqual(['1-1.10', '1-1.12']);
  await expect(t.chunks.release()).rejects.toThrow('EISDIR');
  await store(t.chunks, [['stdout', '12']]);
  const next = await restarted(t);
  expect([next.lastSeq, next.digest]).toEqual([12, t.chunks.digest]);
});

test('a file that can’t be removed keeps those after it, so that the next process can continue, and is tried again', async () => {
  const t = await setup();
  await rename(t.path, `${t.path}-away`);
  const giveBack = await block(t.path);
  const stored = t.chunks.storedBytes;
  for (const seq of [6, 9]) {
    t.chunks.acknowledge(seq);
    await expect(t.chunks.release()).rejects.toThrow(/EISDIR|EPERM/);
    expect(await t.names()).toEqual(['1-1', '1-1-away', '1-1.10', '1-1.4', '1-1.7']);
  }
  await giveBack();
  await rename(`${t.path}-away`, t.path);
  expect(await t.chunks.release()).toBe(stored - t.chunks.storedBytes);
  expect(await t.names()).toEqual(['1-1.10']);
});

test('what could not be removed before is removed with the rest, and one file that stays keeps no other', async () => {
  const t = await setup();
  await rename(t.path, `${t.path}-away`);
  await block(t.path);
  t.chunks.acknowledge(6);
  await expect(t.chunks.release()).rejects.toThrow(/EISDIR|EPERM/);
  await expect(t.chunks.remove()).rejects.toThrow(/EISDIR|EPERM/);
  expect(await t.names()).toEqual(['1-1', '1-1-away']);
  expect(await openFiles(t.path)).toEqual([]);
});

test('a spool of several files that is left for the next process is closed', async () => {
  const t = await setup();
  expect(await openFiles(t.path)).toHaveLength(4);
  await t.chunks.close();
  expect(await openFiles(t.path)).toEqual([]);
});

test('what is still to be looked at for outputs stays, and is known to be the whole of a stream or its end', async () => {
  const stderr = Array.from({ length: 40 }, (): [OutputStream, string] => ['stderr', '']);
  const t = await setup({ keepsEnds: true, all: [...stderr, ['stdout', 'result=7\n'], ...stderr] });
  t.chunks.acknowledge(t.chunks.lastSeq);
  expect(await t.chunks.release()).toBeGreaterThan(30 * chunkBytes);
  const end = await t.chunks.endOf('stdout', limits.maxOutputSearchBytes);
  expect([end.isWhole, end.bytes.toString('latin1').startsWith('result=7\n')]).toEqual([true, true]);
  const other = await t.chunks.endOf('stderr', limits.maxOutputDocumentBytes);
  expect([other.isWhole, other.bytes.length]).toEqual([false, limits.maxOutputDocumentBytes]);
});

test('what is removed while room is made is removed whole, and leaves no file', async () => {
  const t = await setup();
  await store(t.chunks, [['stdout', '11']]);
  t.chunks.acknowledge(11);
  const releasing = t.chunks.release();
  await t.chunks.remove();
  expect(await t.names()).toEqual([]);
  expect(await releasing).toBeGreaterThan(9 * chunkBytes);
  expect(await t.chunks.release()).toBe(0);
  expect(await t.names()).toEqual([]);
});

test('nothing is released of what was removed: a file of its own would be left behind', async () => {
  const t = await setup({ all: tenChunks.slice(0, 2) });
  t.chunks.acknowledge(2);
  await t.chunks.remove();
  expect(await t.chunks.release()).toBe(0);
  expect(await t.names()).toEqual([]);
});

test('a process that was killed while it removed files leaves what can be continued', async () => {
  const t = await setup();
  const last = await Promise.all(
    ['.7', '.10'].map(async (part) => [part, await readFile(`${t.path}${part}`)] as const),
  );
  t.chunks.acknowledge(6);
  await t.chunks.release();
  await t.chunks.remove();
  for (const [part, content] of last) await writeFile(`${t.path}${part}`, content);
  const { chunks, base } = await openSpool(t.path, 1);
  expect([base?.seq, chunks.map(({ seq }) => seq)]).toEqual([6, [7, 8, 9, 10]]);
});

test.each([
  ['a damaged record', 50_000, [1, 2, 3, 4], ['1-1', '1-1.4']],
  ['a damaged beginning', 50, [1, 2, 3], ['1-1']],
])('%s is cut off with everything after it, and its files go', async (_, at, left, names) => {
  const t = await setup();
  await t.chunks.close();
  const content = await readFile(`${t.path}.4`);
  content.writeUInt8(content.readUInt8(at) ^ 1, at);
  await writeFile(`${t.path}.4`, content);
  const { chunks, spool } = await openSpool(t.path, 1);
  expect(chunks.map(({ seq }) => seq)).toEqual(left);
  expect(await t.names()).toEqual(names);
  await spool.close();
});
