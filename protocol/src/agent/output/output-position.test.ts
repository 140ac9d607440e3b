import { gunzipSync, gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type OutputPosition, positionOf, withPosition } from './output-position.ts';

const stream = fc.record({
  offset: fc.nat({ max: 2 ** 48 - 1 }),
  masked: fc.nat({ max: 8192 }),
  skip: fc.nat({ max: 2 ** 33 }),
});

test('a position is read back from a chunk that any reader of gzip inflates as before', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 2000 }),
      fc.record({ stdout: stream, stderr: stream, cut: fc.boolean() }),
      (bytes, position: OutputPosition) => {
        const chunk = withPosition(gzipSync(bytes), position);
        expect(positionOf(chunk)).toEqual(position);
        expect(Buffer.from(gunzipSync(chunk)).equals(bytes)).toBe(true);
      },
    ),
  );
});

test('a chunk without a position has none', () => {
  expect(positionOf(gzipSync('text'))).toBeUndefined();
  expect(positionOf(gzipSync(Buffer.alloc(100_000, 'ab')))).toBeUndefined();
  expect(positionOf(new Uint8Array(3))).toBeUndefined();
});
