import { createHash, randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { Sha256 } from './sha256.ts';

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
  const zeros = new Uint8Array(8 * 1024 * 1024);
  const [hash, other] = [new Sha256(), createHash('sha256')];
  for (let bytes = 0; bytes <= 512 * 1024 * 1024; bytes += zeros.length) {
    hash.update(zeros);
    other.update(zeros);
  }
  expect(hash.hex()).toBe(other.digest('hex'));
});
