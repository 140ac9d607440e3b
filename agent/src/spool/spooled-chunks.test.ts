import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { decodeFrame, limits, startOfOutput } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import type { OutputStream } from '../steps/step-type.ts';
import { temporaryDirectory } from '../testing/enrolled-directory.ts';
import { Spool } from './spool.ts';
import { SpooledChunks } from './spooled-chunks.ts';

/** Three chunks of another agent come before those that are stored here. */
const before = {
  seq: 3,
  rawBytes: 30,
  digest: Buffer.alloc(32, 7).toString('base64'),
  position: { ...startOfOutput, stdout: { offset: 30, masked: 0, skip: 0 } },
};

async function setup(more: { before?: typeof before } = {}) {
  const { path, remove } = await temporaryDirectory();
  const chunks = new SpooledChunks(Spool.create(join(path, '1-1'), { base: more.before }), {
    base: more.before,
  });
  return {
    chunks,
    store: (...all: [OutputStream, string][]) =>
      chunks.append(
        all.map(([stream, text], at) => ({
          header: {
            ...{ stream, step: 1, epoch: 1, elapsedMs: 0 },
            ...{ seq: chunks.lastSeq + 1 + at, rawLength: Buffer.byteLength(text) },
          },
          bytes: gzipSync(text),
        })),
      ),
    async [Symbol.asyncDispose]() {
      await chunks.remove();
      await remove();
    },
  };
}

/** Sends whatever there is to send. */
async function send(chunks: SpooledChunks): Promise<[number, string][]> {
  const sent: [number, string][] = [];
  while (chunks.hasUnsent) {
    const bytes = chunks.nextFrameBytes;
    const taken = await chunks.takeFrame();
    expect(taken.length).toBe(bytes);
    const frame = decodeFrame(taken, limits.maxChunkRawBytes);
    if (frame !== undefined) sent.push([frame.seq, gunzipSync(frame.bytes).toString()]);
  }
  return sent;
}

test('acknowledged chunks are kept until the end, and can be sent again from anywhere', async () => {
  await using t = await setup();
  await t.store(['stdout', 'a'], ['stderr', 'b']);
  const first = await send(t.chunks);
  expect(first).toEqual([
    [1, 'a'],
    [2, 'b'],
  ]);
  const bytes = t.chunks.unackedBytes;
  expect(t.chunks.inFlightBytes).toBe(bytes);
  t.chunks.acknowledge(2);
  expect([t.chunks.inFlightBytes, t.chunks.unackedBytes]).toEqual([0, 0]);
  t.chunks.sendFrom(2);
  expect(await send(t.chunks)).toEqual(first.slice(1));
  t.chunks.sendFrom(1);
  expect([t.chunks.inFlightBytes, t.chunks.unackedBytes]).toEqual([0, bytes]);
  expect(await send(t.chunks)).toEqual(first);
});

test('an acknowledgement that comes after a later one takes nothing back', async () => {
  await using t = await setup();
  await t.store(['stdout', 'a'], ['stderr', 'a'], ['stdout', 'a']);
  await send(t.chunks);
  const inFlight = t.chunks.inFlightBytes;
  expect(t.chunks.acknowledge(3)).toBe(inFlight);
  expect(t.chunks.acknowledge(1)).toBe(0);
  expect(t.chunks.inFlightBytes).toBe(0);
  expect(t.chunks.acknowledge(3)).toBe(0);
});

test('a chunk that the server has already is not sent, and was never in flight', async () => {
  await using t = await setup();
  await t.store(['stdout', 'a'], ['stdout', 'b']);
  expect(t.chunks.acknowledge(1)).toBe(0);
  expect(await send(t.chunks)).toEqual([[2, 'b']]);
});

test('frames that no longer fit into memory are sent all the same, from the file', async () => {
  await using t = await setup();
  const text = () => Buffer.from(crypto.getRandomValues(new Uint8Array(60_000))).toString('hex');
  const texts = Array.from({ length: 24 }, text);
  for (const each of texts) await t.store(['stdout', each]);
  const taken = texts.map(() => t.chunks.takeFrame());
  expect(taken.map((frame) => frame instanceof Promise).indexOf(true)).toBeGreaterThan(1);
  expect(taken.at(-1)).toBeInstanceOf(Promise);
  await Promise.all(taken);
  t.chunks.sendFrom(1);
  expect((await send(t.chunks)).map(([, sent]) => sent)).toEqual(texts);
});

test('what another agent has sent is continued, and is never asked of this file', async () => {
  await using t = await setup({ before });
  expect([t.chunks.lastSeq, t.chunks.rawBytes, t.chunks.digest]).toEqual([3, 30, before.digest]);
  expect([t.chunks.position, t.chunks.ackedPosition]).toEqual([before.position, before.position]);
  expect(t.chunks.hasUnsent).toBe(false);
  await t.store(['stdout', 'four']);
  t.chunks.sendFrom(1);
  expect(await send(t.chunks)).toEqual([[4, 'four']]);
  expect([t.chunks.lastSeq, t.chunks.rawBytes]).toEqual([4, 34]);
  expect(t.chunks.digest).not.toBe(before.digest);
  expect(await t.chunks.endOf('stdout', 100)).toEqual({ bytes: Buffer.from('four'), isWhole: false });
});

test('the end of a stream is read back without the other stream, and says whether it is all', async () => {
  await using t = await setup();
  await t.store(['stdout', 'one '], ['stderr', 'other'], ['stdout', 'two '], ['stdout', 'three']);
  const end = async (maxBytes: number) => {
    const { bytes, isWhole } = await t.chunks.endOf('stdout', maxBytes);
    return [bytes.toString(), isWhole];
  };
  expect(await end(13)).toEqual(['one two three', true]);
  expect(await end(7)).toEqual(['o three', false]);
  expect(await end(5)).toEqual(['three', false]);
  expect((await t.chunks.endOf('stderr', 5)).isWhole).toBe(true);
});
