import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeBase64, encodeBase64, encodeFields, equalBytes, type Field } from './encoding.ts';

const bytes = fc.uint8Array({ maxLength: 8 });
/** Small alphabets, so that generated lists often differ only in where a field ends or in its type. */
const { fields } = fc.letrec<{ field: Field; fields: Field[] }>((tie) => ({
  field: fc.oneof(
    { depthSize: 'small' },
    fc.string({ unit: fc.constantFrom('a', '0', '\0', '\x01'), maxLength: 4 }),
    fc.integer({ min: 0, max: 3 }),
    fc.uint8Array({ max: 2, maxLength: 4 }),
    tie('fields'),
  ),
  fields: fc.array(tie('field'), { maxLength: 4 }),
}));

const shown = (field: Field): string =>
  field instanceof Uint8Array
    ? `bytes(${field.join()})`
    : Array.isArray(field)
      ? `[${field.map(shown).join()}]`
      : JSON.stringify(field);

describe('encodeFields', () => {
  it('gives different lists of fields different bytes', () => {
    fc.assert(
      fc.property(fields, fields, (one, other) => {
        const same = equalBytes(encodeFields('d', one), encodeFields('d', other));
        expect(same).toBe(shown(one) === shown(other));
      }),
      { numRuns: 3_000 },
    );
  });

  it.each<[string, Field[], Field[]]>([
    ['where a field ends', ['ab', 'c'], ['a', 'bc']],
    ['the number of fields', ['a'], ['a', '']],
    ['text and number', ['1'], [1]],
    ['text and bytes', ['a'], [Uint8Array.of(0x61)]],
    ['nesting', [[1], 2], [[1, 2]]],
    ['an empty list and nothing', [[]], []],
  ])('tells apart %s', (_, one, other) => {
    expect(encodeFields('d', one)).not.toEqual(encodeFields('d', other));
  });

  it('separates domains, even from the first field', () => {
    expect(encodeFields('a', ['b'])).not.toEqual(encodeFields('ab', []));
    expect(encodeFields('a', [])).not.toEqual(encodeFields('b', []));
  });

  it('never changes its bytes, which are in signatures and seals that are already stored', () => {
    const hex = Array.from(encodeFields('d', ['é', 258, Uint8Array.of(7), [1]]), (byte) =>
      byte.toString(16).padStart(2, '0'),
    ).join('');
    expect(hex).toBe(
      '01000000116f7073636f6e647563746f722f76312f64' +
        '0100000002c3a9' +
        '02000000080000000000000102' +
        '000000000107' +
        '030000000d' +
        '02000000080000000000000001',
    );
  });

  it('encodes every safe integer as 64 bits', () => {
    fc.assert(
      fc.property(fc.nat({ max: Number.MAX_SAFE_INTEGER }), (value) => {
        const encoded = encodeFields('d', [value]);
        expect(new DataView(encoded.buffer).getBigUint64(encoded.length - 8)).toBe(BigInt(value));
      }),
    );
  });

  it.each([-1, 1.5, Number.NaN, 2 ** 53])('refuses the number %s', (value) => {
    expect(() => encodeFields('d', [value])).toThrow(/whole numbers/);
  });

  it('refuses text that UTF-8 would make equal to other text', () => {
    expect(() => encodeFields('d', ['\ud800'])).toThrow(/lone surrogate/);
    expect(() => encodeFields('d', ['\u{1f600}'])).not.toThrow();
  });
});

describe('base64', () => {
  it('reads back what it wrote, as Node writes it', () => {
    fc.assert(
      fc.property(bytes, (value) => {
        const text = encodeBase64(value);
        expect(text).toBe(Buffer.from(value).toString('base64'));
        expect(decodeBase64(text)).toEqual(value);
      }),
    );
  });

  it('encodes values larger than the longest argument list', () => {
    const large = new Uint8Array(200_000).fill(255);
    expect(decodeBase64(encodeBase64(large))).toEqual(large);
  });

  it.each(['YQ', 'YR==', 'YQ==\n', ' YQ==', 'YQ===', 'Y-_=', '!'])('refuses the form %j', (text) => {
    expect(() => decodeBase64(text)).toThrow(/base64/);
  });

  it('refuses a different length than requested, and names the value', () => {
    expect(() => decodeBase64('YQ==', 2, 'nonce')).toThrow('nonce has 1 bytes; it must have 2');
  });
});
