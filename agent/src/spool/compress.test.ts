import { randomBytes } from 'node:crypto';
import { gunzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { compress } from './compress.ts';

test('every result is a whole gzip of its own, also from a stream that was used before', async () => {
  const inputs = Array.from({ length: 40 }, (_, n) =>
    n % 2 === 0 ? randomBytes(200_000 + n) : Buffer.alloc(150_000, `${n} `),
  );
  for (const input of inputs) expect(gunzipSync(await compress(input)).equals(input)).toBe(true);
  const together = await Promise.all(inputs.map((input) => compress(input)));
  for (const [n, bytes] of together.entries())
    expect(gunzipSync(bytes).equals(inputs[n] ?? Buffer.alloc(0))).toBe(true);
});

test('small pieces are compressed at once', () => {
  expect(compress(Buffer.from('hello'))).toBeInstanceOf(Buffer);
});
