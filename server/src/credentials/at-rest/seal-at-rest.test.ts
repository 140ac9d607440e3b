import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { newDataKey } from './data-key.ts';
import { aadOf, atRestOverheadBytes, openAtRest, sealAtRest } from './seal-at-rest.ts';

const dataKey = newDataKey();
const aad = aadOf('run_output', 12, 3, 1);
const text = (value: string) => new TextEncoder().encode(value);

describe('a value sealed at rest', () => {
  it('opens to what it was, and is 28 bytes longer', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), (value) => {
        const sealed = sealAtRest(dataKey, value, aad);
        expect(sealed).toHaveLength(value.length + atRestOverheadBytes);
        expect(new Uint8Array(openAtRest(dataKey, sealed, aad))).toEqual(value);
      }),
    );
  });

  it('is written to the given buffer if that has exactly its length', () => {
    const value = text('root password');
    const memory = Buffer.alloc(value.length + atRestOverheadBytes + 1);
    const sealed = sealAtRest(dataKey, value, aad, memory.subarray(1));
    expect(sealed.buffer).toBe(memory.buffer);
    expect(new Uint8Array(openAtRest(dataKey, memory.subarray(1), aad))).toEqual(value);
    expect(() => sealAtRest(dataKey, value, aad, memory)).toThrow('another length');
    expect(() => sealAtRest(dataKey, value, aad, memory.subarray(2))).toThrow('another length');
  });

  it('is refused with any bit flipped or any byte missing', () => {
    const sealed = sealAtRest(dataKey, text('root password'), aad);
    for (let bit = 0; bit < sealed.length * 8; bit++) {
      const altered = Buffer.from(sealed);
      altered[bit >> 3] = (altered[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(() => openAtRest(dataKey, altered, aad)).toThrow('altered or moved');
    }
    for (let length = 0; length < sealed.length; length++) {
      expect(() => openAtRest(dataKey, sealed.subarray(0, length), aad)).toThrow('altered or moved');
    }
  });

  it('is refused in another row and under another data key', () => {
    const sealed = sealAtRest(dataKey, text('x'), aad);
    expect(() => openAtRest(dataKey, sealed, aadOf('run_output', 12, 3, 2))).toThrow('altered or moved');
    expect(() => openAtRest(newDataKey(), sealed, aad)).toThrow('altered or moved');
  });

  it('never repeats a nonce', () => {
    const nonces = Array.from({ length: 5_000 }, () =>
      sealAtRest(dataKey, text(''), aad).toString('hex', 0, 12),
    );
    expect(new Set(nonces).size).toBe(nonces.length);
  });

  it('keeps its layout: stored rows must stay readable', () => {
    const key = Buffer.alloc(32, 1);
    const stored = Buffer.from('1d2d77d5abd48fd9aa3330b66cb5c9d1a093b92c10b44045e47dac6dc5be338704', 'hex');
    expect(openAtRest(key, stored, aadOf('run_output', 12, 3, 1)).toString()).toBe('hello');
  });
});

it('additional data tells purposes apart, and where fields end', () => {
  expect(aadOf('a', 'b', 'c')).not.toEqual(aadOf('a', 'bc'));
  expect(aadOf('a', 'b')).not.toEqual(aadOf('ab'));
  expect(aadOf('a', 1, 23)).not.toEqual(aadOf('a', 12, 3));
});
