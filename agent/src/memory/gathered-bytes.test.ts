import { expect, test } from 'vitest';
import { GatheredBytes } from './gathered-bytes.ts';

test('pieces of any size come out as one, in order, and what was read earlier stays', () => {
  const gathered = new GatheredBytes();
  expect(gathered.bytes()).toEqual(Buffer.alloc(0));
  const pieces = [0, 1, 4_095, 1, 10_000, 3].map((length, at) => Buffer.alloc(length, at));
  for (const piece of pieces.slice(0, 3)) gathered.add(piece);
  const early = gathered.bytes();
  for (const piece of pieces.slice(3)) gathered.add(piece);
  expect(gathered.bytes().equals(Buffer.concat(pieces))).toBe(true);
  expect(early.equals(Buffer.concat(pieces.slice(0, 3)))).toBe(true);
  expect(gathered.length).toBe(14_100);
});

test('single bytes take at most twice their sum in memory, as none of their packets is held', () => {
  const gathered = new GatheredBytes();
  const packet = Buffer.alloc(64);
  for (let n = 0; n < 100_000; n += 1) {
    packet[7] = n % 251;
    gathered.add(packet.subarray(7, 8));
  }
  const bytes = gathered.bytes();
  expect([...bytes.subarray(0, 300)]).toEqual(Array.from({ length: 300 }, (_, n) => n % 251));
  expect(bytes.buffer.byteLength).toBeLessThanOrEqual(2 * 100_000);
});
