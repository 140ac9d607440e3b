import fc from 'fast-check';
import { expect, test } from 'vitest';
import { limits } from '../../limits.ts';
import {
  chainLink,
  decodeFrame,
  encodeFrame,
  encodeFrameHeader,
  frameHeaderBytes,
  type OutputFrame,
} from './frames.ts';

const maxRaw = limits.maxChunkRawBytes;
const frame: OutputFrame = {
  stream: 'stdout',
  step: 7,
  epoch: 2,
  seq: 3,
  rawLength: 5,
  elapsedMs: 40,
  bytes: new Uint8Array([1, 2, 3]),
};

const anyFrame = fc.record({
  stream: fc.constantFrom('stdout' as const, 'stderr' as const),
  step: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
  epoch: fc.integer({ min: 1, max: 2_147_483_647 }),
  seq: fc.integer({ min: 1, max: 0x7fff_fffe }),
  rawLength: fc.integer({ min: 1, max: maxRaw }),
  elapsedMs: fc.integer({ min: 0, max: 0xffff_ffff }),
  bytes: fc.uint8Array({ minLength: 1, maxLength: 300 }),
});

test('any frame is read back as it was written, wherever it lies in a buffer', () => {
  fc.assert(
    fc.property(anyFrame, fc.nat(40), (original, offset) => {
      const encoded = encodeFrame(original);
      const within = new Uint8Array(offset + encoded.length);
      within.set(encoded, offset);
      expect(decodeFrame(within.subarray(offset), maxRaw)).toEqual(original);
    }),
  );
});

test('any bytes are either decoded as a frame or refused, without throwing', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
      const decoded = decodeFrame(bytes, maxRaw);
      if (decoded !== undefined) expect(encodeFrame(decoded)).toEqual(bytes);
    }),
  );
});

test.each<[string, (bytes: Uint8Array, view: DataView) => void]>([
  ['another version', (_, view) => view.setUint8(0, 2)],
  ['an unknown stream', (_, view) => view.setUint8(1, 3)],
  ['reserved bits', (_, view) => view.setUint16(2, 1)],
  ['no step', (_, view) => view.setBigUint64(4, 0n)],
  [
    'a step beyond what a number holds',
    (_, view) => view.setBigUint64(4, BigInt(Number.MAX_SAFE_INTEGER) + 1n),
  ],
  ['no epoch', (_, view) => view.setUint32(12, 0)],
  ['no seq', (_, view) => view.setUint32(16, 0)],
  ['the last seq of all', (_, view) => view.setUint32(16, 0x7fff_ffff)],
  ['no raw length', (_, view) => view.setUint32(20, 0)],
  ['a raw length above the limit', (_, view) => view.setUint32(20, maxRaw + 1)],
])('a frame with %s is refused', (_, change) => {
  const bytes = encodeFrame(frame);
  change(bytes, new DataView(bytes.buffer));
  expect(decodeFrame(bytes, maxRaw)).toBeUndefined();
});

test('a header without a chunk is not a frame', () => {
  expect(decodeFrame(encodeFrameHeader(frame), maxRaw)).toBeUndefined();
  expect(decodeFrame(new Uint8Array(frameHeaderBytes - 1), maxRaw)).toBeUndefined();
});

test('time beyond the range of the field is written as its maximum', () => {
  const decoded = decodeFrame(encodeFrame({ ...frame, elapsedMs: 2 ** 40 }), maxRaw);
  expect(decoded?.elapsedMs).toBe(0xffff_ffff);
});

test('a link of the digest chain differs if any of its fields differs', () => {
  const sha256 = new Uint8Array(32).fill(9);
  const chunk = { seq: 1, stream: 'stdout' as const, rawLength: 5, sha256 };
  const links = [
    chunk,
    { ...chunk, seq: 2 },
    { ...chunk, stream: 'stderr' as const },
    { ...chunk, rawLength: 6 },
    { ...chunk, sha256: new Uint8Array(32) },
  ].map((each) => Buffer.from(chainLink(each)).toString('hex'));
  expect(new Set(links).size).toBe(links.length);
  expect(links[0]).toBe(`000000010100000005${'09'.repeat(32)}`);
});
