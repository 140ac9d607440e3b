import { expect, test } from 'vitest';
import { forwardedAddress } from './peer-address.ts';

test.each([
  ['203.0.113.7', '203.0.113.7'],
  ['198.51.100.1, 203.0.113.7', '203.0.113.7'],
  ['203.0.113.7:50123', '203.0.113.7'],
  ['::ffff:203.0.113.7', '203.0.113.7'],
  ['[::FFFF:203.0.113.7]:50123', '203.0.113.7'],
  ['2001:db8::7', '2001:db8::7'],
  ['[2001:db8::7]:50123', '2001:db8::7'],
  ['[2001:db8::7]', '2001:db8::7'],
  ['unknown', 'unknown'],
  [' ', undefined],
  [undefined, undefined],
])('a proxy that forwards %s means the client %s, in whatever form it writes it', (header, address) => {
  expect(forwardedAddress(header)).toBe(address);
});
