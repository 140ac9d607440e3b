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
