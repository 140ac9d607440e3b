import { generateKeyPairSync } from 'node:crypto';
import { expect, it } from 'vitest';
import { privateKeyProblem } from './private-key-problem.ts';

const openssh = (cipher: string) => {
  const bytes = `openssh-key-v1\0\0\0\0${String.fromCharCode(cipher.length)}${cipher}\0\0\0\x04none`;
  return `-----BEGIN OPENSSH PRIVATE KEY-----\n${btoa(bytes).replaceAll(/(.{20})/g, '$1\n')}\n-----END OPENSSH PRIVATE KEY-----\n`;
};
const pem = (options: { cipher?: string; passphrase?: string } = {}) =>
  generateKeyPairSync('ed25519')
    .privateKey.export({ type: 'pkcs8', format: 'pem', ...options })
    .toString();
const legacy = (passphrase: string) =>
  generateKeyPairSync('rsa', { modulusLength: 1024 })
    .privateKey.export({ type: 'pkcs1', format: 'pem', cipher: 'aes-128-cbc', passphrase })
    .toString();

it.each([
  ['OpenSSH', openssh('none'), ''],
  ['OpenSSH with Windows line ends', openssh('none').replaceAll('\n', '\r\n'), ''],
  ['OpenSSH, encrypted, with its passphrase', openssh('aes256-ctr'), 'x'],
  ['PuTTY', 'PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\nComment: me\n', ''],
  ['PKCS #8', pem(), ''],
  ['PKCS #8, encrypted, with its passphrase', pem({ cipher: 'aes-256-cbc', passphrase: 'x' }), 'x'],
  ['PKCS #1, encrypted, with its passphrase', legacy('x'), 'x'],
])('a whole private key is taken: %s', (_, key, passphrase) => {
  expect(privateKeyProblem(key, passphrase, 'ssh')).toBeUndefined();
});

it.each([
  ['a public key', 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ me@here', 'This is a public key'],
  ['a public key on a security key', 'sk-ssh-ed25519@openssh.com AAAAGnNr me@here', 'This is a public key'],
  [
    'a public key in PEM',
    '-----BEGIN PUBLIC KEY-----\nabc\n-----END PUBLIC KEY-----',
    'This is a public key',
  ],
  ['something else', 'hunter2', 'begins with a line -----BEGIN'],
  ['a key without its last line', openssh('none').split('\n').slice(0, 2).join('\n'), 'The end is missing'],
  [
    'a key without its first line',
    openssh('none').split('\n').slice(1).join('\n'),
    'begins with a line -----BEGIN',
  ],
  ['an encrypted OpenSSH key without its passphrase', openssh('aes256-ctr'), 'enter its passphrase'],
  [
    'an encrypted PuTTY key without its passphrase',
    'PuTTY-User-Key-File-3: x\nEncryption: aes256-cbc\n',
    'enter its passphrase',
  ],
  [
    'an encrypted PKCS #8 key without its passphrase',
    pem({ cipher: 'aes-256-cbc', passphrase: 'x' }),
    'enter its passphrase',
  ],
  ['an encrypted PKCS #1 key without its passphrase', legacy('x'), 'enter its passphrase'],
])('%s is refused before it is sealed', (_, key, message) => {
  expect(privateKeyProblem(key, '', 'ssh')).toContain(message);
});

const certificate = '-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----\n';
const attributes = 'Bag Attributes\n    localKeyID: 01\nKey Attributes: <No Attributes>\n';

it('a key that openssl pkcs12 wrote is taken, with what stands around it', () => {
  for (const use of ['ssh', 'certificate'] as const) {
    const text = `${attributes}${pem()}${attributes}${certificate}`;
    expect(privateKeyProblem(text, '', use)).toBeUndefined();
    expect(privateKeyProblem(`${certificate}${text}`, '', use)).toBeUndefined();
    expect(privateKeyProblem(text.replace(/-----END PRIVATE KEY-----/, ''), '', use)).toContain(
      'The end is missing',
    );
  }
});

it('the key of a certificate may follow its parameters; the parser of keys for SSH takes nothing before it', () => {
  const key = '-----BEGIN EC PRIVATE KEY-----\nabc\n-----END EC PRIVATE KEY-----\n';
  const text = `-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n${key}`;
  expect(privateKeyProblem(text, '', 'certificate')).toBeUndefined();
  expect(privateKeyProblem(text, '', 'ssh')).toContain('begins with a line -----BEGIN');
});
