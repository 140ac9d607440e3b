import { expect, test } from 'vitest';
import { readOutputLines } from './output-lines.ts';

const valuesOf = (text: string) => {
  const read = readOutputLines(text);
  return 'values' in read ? Object.fromEntries(read.values) : read.problem;
};

test('a value is everything after the sign, and the last value of a name counts', () => {
  expect(valuesOf('a=1\n\nb= x = y \r\na=2\nc=')).toEqual({ a: '2', b: ' x = y \r', c: '' });
  expect(valuesOf('')).toEqual({});
});

test('a value of several lines ends at its own word', () => {
  expect(valuesOf('a<<EOT\none\na=2\n EOT\nEOT\nb=3\n')).toEqual({ a: 'one\na=2\n EOT', b: '3' });
  expect(valuesOf('a<<EOT\nEOT')).toEqual({ a: '' });
  expect(valuesOf('a=<<EOT\n')).toEqual({ a: '<<EOT' });
});

test('an invalid line is reported by its number, without its text', () => {
  expect(valuesOf('a=1\nhello\n')).toMatch(/^line 2 is neither/);
  expect(valuesOf('1a=1')).toMatch(/^line 1 is neither/);
  expect(valuesOf('a =1')).toMatch(/^line 1 is neither/);
  expect(valuesOf('a<<\nx')).toMatch(/^line 1 says `<<` and no word/);
  expect(valuesOf('\na<<END\nx\n')).toBe('the value that begins at line 2 has no line that ends it');
});
