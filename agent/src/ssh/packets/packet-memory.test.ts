import { expect, test } from 'vitest';
import { freePacket, letBeFreed } from './packet-memory.ts';

test('a packet that may be freed has no memory any more once it is', () => {
  const packet = Buffer.alloc(10_000, 1);
  const head = packet.subarray(0, 9);
  letBeFreed(packet);
  freePacket(packet);
  expect([packet.length, head.length, packet.buffer.byteLength]).toEqual([0, 0, 0]);
  freePacket(packet);
});

test('who gets the used part of a packet can free all of it, and nobody with less', () => {
  const packet = Buffer.alloc(10_000, 1);
  letBeFreed(packet, 9_000);
  freePacket(packet.subarray(9, 9_008));
  freePacket(packet);
  expect(packet.length).toBe(10_000);
  freePacket(packet.subarray(9, 9_009));
  expect(packet.length).toBe(0);
});

test.each([
  ['other memory', Buffer.alloc(10_000)],
  ['memory that Node shares among buffers', Buffer.from('text')],
])('%s stays as it is', (_what, bytes) => {
  const before = Buffer.from(bytes);
  freePacket(bytes);
  expect(bytes).toEqual(before);
});

test('a packet in memory that holds something else, too, stays as it is', () => {
  const memory = new ArrayBuffer(20_000);
  const [packet, other] = [Buffer.from(memory, 0, 10_000), Buffer.from(memory, 10_000)];
  letBeFreed(packet);
  freePacket(packet);
  expect([packet.length, other.length]).toEqual([10_000, 10_000]);
});

test('a packet of a few bytes is left to the collector', () => {
  const packet = Buffer.alloc(100);
  letBeFreed(packet);
  freePacket(packet);
  expect(packet.length).toBe(100);
});
