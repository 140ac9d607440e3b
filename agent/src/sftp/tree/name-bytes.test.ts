import fc from 'fast-check';
import { expect, test } from 'vitest';
import { bytesOf, isText, nameOf } from './name-bytes.ts';
import { shownPath } from './shown-path.ts';

test('every name of bytes converts back exactly, and different bytes give different names', () => {
  const bytes = fc.array(
    fc.constantFrom(...Buffer.from('a/\n\ufffdé😀'), 0x80, 0xc0, 0xed, 0xa0, 0xf8, 0xff),
  );
  fc.assert(
    fc.property(bytes, bytes, (one, other) => {
      const [a, b] = [Buffer.from(one), Buffer.from(other)];
      expect(bytesOf(nameOf(a))).toEqual(a);
      expect(nameOf(a) === nameOf(b)).toBe(a.equals(b));
    }),
  );
});

test('text is its own name, even if it contains the replacement character', () => {
  for (const text of ['plain', 'é😀', '\ufffd', 'e\u0301']) {
    expect(nameOf(Buffer.from(text))).toBe(text);
    expect(isText(text)).toBe(true);
  }
});

test('a byte that is not text is shown as a byte, unlike the character with the same number', () => {
  const name = nameOf(Buffer.from('caf\xe9\x85', 'latin1'));
  expect(isText(name)).toBe(false);
  expect(shownPath(name)).toBe('"caf\\xe9\\x85"');
  expect(shownPath('\u0085')).toBe('"\\u0085"');
});

test('the stand-ins for bytes can not express a slash or any other byte that is text', () => {
  expect(bytesOf('\udc2f\udc7f')).toEqual(Buffer.from('\ufffd\ufffd'));
});
