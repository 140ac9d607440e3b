import { createHash, randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { paddedEnd, Sha256 } from './sha256.ts';

const expected = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

test('the digest of a content of any length, in pieces of any length, is the one that others compute', () => {
  const bytes = randomBytes(1_000);
  for (let length = 0; length <= 260; length += 1)
    expect(new Sha256().update(bytes.subarray(0, length)).hex()).toBe(expected(bytes.subarray(0, length)));
  for (const size of [1, 3, 55, 56, 63, 64, 65, 127, 128, 500]) {
    const hash = new Sha256();
    for (let at = 0; at < bytes.length; at += size) {
      expect(hash.hex()).toBe(expected(bytes.subarray(0, at)));
      hash.update(bytes.subarray(at, at + size));
    }
    expect(hash.hex()).toBe(expected(bytes));
  }
});

test('a length whose bits need more than 32 is counted', () => {
  // Hashing that many bytes would take seconds.
  const end = paddedEnd(Uint8Array.of(7), 512 * 1024 * 1024 + 1);
  expect([...end]).toEqual([7, 0x80, ...Array(57).fill(0), 1, 0, 0, 0, 8]);
  const largest = paddedEnd(new Uint8Array(60), Number.MAX_SAFE_INTEGER);
  expect([...largest.subarray(60)]).toEqual([0x80, ...Array(60).fill(0), ...Array(6).fill(255), 248]);
});
