import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type EnrollmentToken, formatEnrollmentToken, parseEnrollmentToken } from './enrollment-token.ts';

const hex = fc
  .uint8Array({ minLength: 32, maxLength: 32 })
  .map((bytes) => Buffer.from(bytes).toString('hex'));
const secret = fc
  .uint8Array({ minLength: 32, maxLength: 32 })
  .map((bytes) => Buffer.from(bytes).toString('base64url'));
const anyToken: fc.Arbitrary<EnrollmentToken> = fc
  .tuple(secret, hex, fc.option(hex, { nil: undefined }))
  .map(([secret, rootSha256, pin]) =>
    pin === undefined ? { secret, rootSha256 } : { secret, rootSha256, caPin: `sha256:${pin}` },
  );

test('any token is parsed back to what was formatted, even with white space around it', () => {
  fc.assert(
    fc.property(anyToken, fc.constantFrom('', ' ', '\n', '\t\r\n'), (token, space) => {
      expect(parseEnrollmentToken(`${space}${formatEnrollmentToken(token)}${space}`)).toEqual(token);
    }),
  );
});

test('a token is one word of letters, digits, hyphens, underscores and dots', () => {
  fc.assert(
    fc.property(anyToken, (token) => {
      expect(formatEnrollmentToken(token)).toMatch(/^oce_[A-Za-z0-9_.-]+$/);
    }),
  );
});

test('text of any other form is not a token', () => {
  const part = 'A'.repeat(43);
  for (const text of [
    '',
    'oce_',
    `oct_${part}.${part}`,
    `oce_${part}`,
    `oce_${part}.`,
    `oce_${part}.${part}.`,
    `oce_${part}.${part}.${part}.${part}`,
    `oce_${part}A.${part}`,
    `oce_${part.slice(1)}.${part}`,
    `oce_${part}.${part} x`,
    `oce_${part.slice(1)}+.${part}`,
    `OCE_${part}.${part}`,
  ])
    expect(parseEnrollmentToken(text)).toBeUndefined();
  expect(parseEnrollmentToken(`oce_${part}.${part}`)).toBeDefined();
});
