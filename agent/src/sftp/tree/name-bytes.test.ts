import fc from 'fast-check';
import { expect, test } from 'vitest';
import { bytesOf, isText, nameOf } from './name-bytes.ts';
import { shownPath } from './shown-path.ts';

test('every name of bytes goes back as it came, and different ones are different names', () => {
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

test('text is its own name, also where it has the sign in it that stands for what is no text', () => {
  for (const text of ['plain', 'é😀', '\ufffd', 'e\u0301']) {
    expect(nameOf(Buffer.from(text))).toBe(text);
    expect(isText(text)).toBe(true);
  }
});

test('a byte that is no text is shown as one, unlike the character of its number', () => {
  const name = nameOf(Buffer.from('caf\xe9\x85', 'latin1'));
  expect(isText(name)).toBe(false);
  expect(shownPath(name)).toBe('"caf\\xe9\\x85"');
  expect(shownPath('\u0085')).toBe('"\\u0085"');
});

test('no name can say a slash, or another byte that is text, by what stands for bytes', () => {
  expect(bytesOf('\udc2f\udc7f')).toEqual(Buffer.from('\ufffd\ufffd'));
});
