import { randomBytes } from 'node:crypto';
import { gunzipSync } from 'node:zlib';
import { isAsLongAsStated, limits, startOfOutput, withPosition } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { compress } from './compress.ts';

test('every result is a complete gzip, even from a stream that was used before', async () => {
  const inputs = Array.from({ length: 40 }, (_, n) =>
    n % 2 === 0 ? randomBytes(200_000 + n) : Buffer.alloc(150_000, `${n} `),
  );
  for (const input of inputs) expect(gunzipSync(await compress(input)).equals(input)).toBe(true);
  const together = await Promise.all(inputs.map((input) => compress(input)));
  for (const [n, bytes] of together.entries())
    expect(gunzipSync(bytes).equals(inputs[n] ?? Buffer.alloc(0))).toBe(true);
});

test('every chunk satisfies what a server can check without inflating it', async () => {
  const position = { ...startOfOutput, stdout: { offset: 2 ** 40, masked: 1, skip: 2 } };
  for (const length of [1, 60, 4_095, 4_096, 70_000, limits.maxChunkRawBytes])
    for (const raw of [
      randomBytes(length),
      Buffer.alloc(length, 'and so on '),
      Buffer.from(randomBytes(length).toString('hex').slice(0, length)),
    ]) {
      const bytes = withPosition(await compress(raw), position);
      expect(isAsLongAsStated({ bytes, rawLength: length }), String(length)).toBe(true);
      expect(isAsLongAsStated({ bytes, rawLength: length + 1 })).toBe(false);
    }
});

test('small pieces are compressed at once', () => {
  expect(compress(Buffer.from('hello'))).toBeInstanceOf(Buffer);
});

test('dense data is stored as it is, and data that only begins dense is compressed', async () => {
  const dense = randomBytes(200_000);
  const wrapped = await compress(dense);
  // Stored blocks: they contain the bytes themselves.
  expect(wrapped.includes(dense.subarray(1_000, 2_000))).toBe(true);
  expect(wrapped.length).toBeLessThan(dense.length + 200);
  const mixed = Buffer.concat([dense.subarray(0, 50_000), Buffer.alloc(150_000, 'and so on ')]);
  const compressed = await compress(mixed);
  expect(compressed.length).toBeLessThan(60_000);
  for (const text of ['a line of a log\n', dense.toString('base64')]) {
    const raw = Buffer.alloc(200_000, text);
    expect((await compress(raw)).length).toBeLessThan(0.8 * raw.length);
  }
});
