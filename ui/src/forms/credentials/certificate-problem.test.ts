import { expect, it } from 'vitest';
import { certificateProblem } from './certificate-problem.ts';

const field = (text: string) => `${String.fromCharCode(0, 0, text.length >> 8, text.length & 255)}${text}`;
const rest = 'serial, principals, and what else follows';

const keyOf = (type: string, ...fields: string[]) => {
  const blob = [type, ...fields].map(field).join('');
  const encrypted = `${field('aes256-ctr')}${field('bcrypt')}${field('salt and rounds')}`;
  const bytes = `openssh-key-v1\0${encrypted}\0\0\0\x01${field(blob)}${field('the encrypted part')}`;
  const text = btoa(bytes).replaceAll(/(.{70})/g, '$1\r\n');
  return `-----BEGIN OPENSSH PRIVATE KEY-----\r\n${text}\r\n-----END OPENSSH PRIVATE KEY-----\r\n`;
};
const certificateOf = (type: string, ...fields: string[]) => {
  const certified = `${type}-cert-v01@openssh.com`;
  return `${certified} ${btoa([certified, 'nonce', ...fields, rest].map(field).join(''))} me@here\n`;
};

it.each([
  ['ssh-ed25519', ['a key']],
  ['ssh-rsa', ['exponent', 'modulus'.repeat(40)]],
  ['ecdsa-sha2-nistp256', ['nistp256', 'point']],
])('a certificate is taken for its own key and no other: %s', (type, fields) => {
  const certificate = certificateOf(type, ...fields);
  expect(certificateProblem(certificate, keyOf(type, ...fields))).toBeUndefined();
  const other = [...fields.slice(0, -1), 'other'];
  expect(certificateProblem(certificate, keyOf(type, ...other))).toMatch(/for another key/);
  expect(certificateProblem(certificate, keyOf('ssh-ed25519', 'x'))).toMatch(/for another key/);
});

it('a public key is no certificate', () => {
  const found = certificateProblem(
    'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ me@here',
    keyOf('ssh-ed25519', 'x'),
  );
  expect(found).toMatch(/public key without a certificate.*-cert\.pub/);
});

const number = (value: bigint, size: number) =>
  Array.from({ length: size }, (_, at) =>
    String.fromCharCode(Number((value >> BigInt(8 * (size - 1 - at))) & 255n)),
  ).join('');
const signed = (use: 1 | 2, validBefore: bigint) => {
  const type = 'ssh-ed25519-cert-v01@openssh.com';
  const key = [type, 'nonce', 'a key'].map(field).join('');
  const said = `${number(7n, 8)}${number(BigInt(use), 4)}${field('ops')}${field(field('ops'))}`;
  return `${type} ${btoa(`${key}${said}${number(0n, 8)}${number(validBefore, 8)}${field('')}`)}`;
};

it('a certificate that has expired, or is one of a host, is refused before it is sealed', () => {
  const own = keyOf('ssh-ed25519', 'a key');
  const end = Date.UTC(2026, 10, 30, 12) / 1_000;
  const problem = (certificate: string, now: number) => certificateProblem(certificate, own, now * 1_000);
  expect(problem(signed(1, BigInt(end)), end - 1)).toBeUndefined();
  expect(problem(signed(1, BigInt(end)), end)).toMatch(
    /expired at 30 Nov 2026, 12:00:00 UTC\. Have the key signed/,
  );
  expect(problem(signed(1, 2n ** 64n - 1n), end)).toBeUndefined();
  expect(problem(signed(2, BigInt(end)), 0)).toMatch(/for hosts, not for users/);
});

it.each([
  ['no certificate', '', keyOf('ssh-ed25519', 'x')],
  ['a key in another format', certificateOf('ssh-ed25519', 'x'), '-----BEGIN PRIVATE KEY-----\nabc\n'],
  ['a key of a type that is not known', certificateOf('ssh-new', 'x'), keyOf('ssh-new', 'y')],
  [
    'a certificate that is cut off',
    certificateOf('ssh-ed25519', 'x').slice(0, 60),
    keyOf('ssh-ed25519', 'y'),
  ],
  ['rubbish', 'ssh-ed25519-cert-v01@openssh.com $$$', '-----BEGIN OPENSSH PRIVATE KEY-----\n$$$\n-----END'],
])('nothing is said about what can’t be compared: %s', (_, certificate, key) => {
  expect(certificateProblem(certificate, key)).toBeUndefined();
});
