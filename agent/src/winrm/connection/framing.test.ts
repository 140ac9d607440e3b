import fc from 'fast-check';
import { expect, test } from 'vitest';
import { WinrmError } from '../winrm-error.ts';
import { readSealed, sealedContentType, writeSealed } from './framing.ts';

const protocol = 'application/HTTP-SPNEGO-session-encrypted';
const sealed = { signature: Buffer.alloc(16, 1), data: Buffer.from('data'), plainLength: 4 };

test('a sealed message is written the way Windows wants it', () => {
  expect(sealedContentType(protocol)).toBe(
    'multipart/encrypted;protocol="application/HTTP-SPNEGO-session-encrypted";boundary="Encrypted Boundary"',
  );
  expect(writeSealed(sealed, protocol).toString('latin1')).toBe(
    '--Encrypted Boundary\r\n' +
      '\tContent-Type: application/HTTP-SPNEGO-session-encrypted\r\n' +
      '\tOriginalContent: type=application/soap+xml;charset=UTF-8;Length=4\r\n' +
      '--Encrypted Boundary\r\n' +
      '\tContent-Type: application/octet-stream\r\n' +
      `\x10\0\0\0${'\x01'.repeat(16)}data--Encrypted Boundary--\r\n`,
  );
});

test('a written message is read back, whatever is sealed: boundaries inside it have no effect', () => {
  const part = fc.oneof(
    fc.uint8Array().map((bytes) => Buffer.from(bytes)),
    fc
      .constantFrom('--Encrypted Boundary--\r\n', '--Encrypted Boundary\r\n', '\r\n')
      .map((text) => Buffer.from(text)),
  );
  const bytes = fc.array(part, { maxLength: 5 }).map((parts) => Buffer.concat(parts));
  fc.assert(
    fc.property(bytes, bytes, (signature, data) => {
      fc.pre(signature.length <= 1_024);
      const message = { signature, data, plainLength: data.length };
      expect(readSealed(writeSealed(message, protocol), protocol)).toEqual(message);
    }),
  );
});

test.each([
  '--Encrypted Boundary--\r\n',
  '--Encrypted Boundary--',
  '--Encrypted Boundary\r\n',
  '-- Encrypted Boundary\r\n',
])('a reply that ends with %j is read: its lengths say where it ends', (end) => {
  expect(readSealed(replaced('--Encrypted Boundary--\r\n', end), protocol)).toEqual(sealed);
});

const whole = writeSealed(sealed, protocol);
const replaced = (from: string, to: string) =>
  Buffer.from(whole.toString('latin1').replace(from, to), 'latin1');

test.each([
  ['nothing', Buffer.alloc(0)],
  ['another protocol', replaced(protocol, 'application/HTTP-Kerberos-session-encrypted')],
  ['no length', replaced(';Length=4', '')],
  ['a length that is not a number', replaced('Length=4', 'Length=-4')],
  ['a longer length', replaced('Length=4', 'Length=5')],
  ['a shorter length', replaced('Length=4', 'Length=3')],
  ['a huge length', replaced('Length=4', 'Length=999999999')],
  ['a huge signature', replaced('\x10\0\0\0', '\xff\xff\xff\x7f')],
  ['no end', replaced('--Encrypted Boundary--\r\n', '')],
  ['something after the end', Buffer.concat([whole, Buffer.from('x')])],
  ['no second part', whole.subarray(0, 150)],
])('a reply with %s is refused', (_, body) => {
  expect(() => readSealed(body, protocol)).toThrow(WinrmError);
});
