import { afterEach, expect, test } from 'vitest';
import { MemoryShare } from '../memory-share.ts';
import { ChunkBuffers } from './chunk-buffers.ts';

const shares: MemoryShare[] = [];
afterEach(() => {
  for (const share of shares.splice(0)) share.release();
});

function begin(): MemoryShare {
  const share = new MemoryShare();
  shares.push(share);
  return share;
}

/** Takes as many buffers as are available until one is given back. */
async function takeAll(buffers: ChunkBuffers): Promise<Buffer[]> {
  const taken: Buffer[] = [];
  for (;;) {
    const next = await Promise.race([
      buffers.take(),
      new Promise<undefined>((none) => setImmediate(() => none(undefined))),
    ]);
    if (next === undefined) return taken;
    taken.push(next);
  }
}

test('many transfers at once have no more buffers together than a few, but at least two each', async () => {
  const alone = await takeAll(new ChunkBuffers(begin()));
  for (let more = 1; more < 16; more += 1) begin();
  const oneOfMany = await takeAll(new ChunkBuffers(shares[0] as MemoryShare));
  for (let more = 16; more < 1_000; more += 1) begin();
  const oneOfVeryMany = await takeAll(new ChunkBuffers(shares[0] as MemoryShare));
  expect([alone.length, oneOfMany.length, oneOfVeryMany.length]).toEqual([32, 4, 2]);
});

test('a transfer gives up buffers when others begin, and a waiter gets one of the rest', async () => {
  const buffers = new ChunkBuffers(begin());
  const taken = await Promise.all(Array.from({ length: 32 }, () => buffers.take()));
  for (let more = 1; more < 16; more += 1) begin();
  const waiting = buffers.take();
  for (const buffer of taken) buffers.give(buffer);
  expect(taken.indexOf(await waiting)).toBe(28);
  expect(await takeAll(buffers)).toHaveLength(3);
});

test('when a transfer ends, others get its buffers', async () => {
  for (let n = 0; n < 4; n += 1) begin();
  const [first] = shares as [MemoryShare];
  expect(first.partOf({ most: 100, together: 100, least: 1 })).toBe(25);
  for (const share of shares.splice(1)) share.release();
  expect(first.partOf({ most: 100, together: 100, least: 1 })).toBe(100);
});
