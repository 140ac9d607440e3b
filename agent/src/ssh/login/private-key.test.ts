import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import ssh2 from 'ssh2';
import { expect, test } from 'vitest';
import { ed25519KeyPair } from '../../testing/ssh-keys.ts';
import { SshError } from '../ssh-error.ts';
import { parsePrivateKey } from './private-key.ts';

const passphrase = 'open sesame';
const protection = { cipher: 'aes-256-cbc', passphrase };
const pairs: [string, KeyObject][] = [
  ['ed25519', generateKeyPairSync('ed25519').privateKey],
  ['rsa', generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey],
  ['ec', generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey],
];

function refusal(text: string, phrase?: string): SshError {
  try {
    parsePrivateKey(text, phrase);
  } catch (error) {
    if (error instanceof SshError) return error;
    throw error;
  }
  throw new Error('it was read');
}

function works(text: string, phrase?: string): boolean {
  const key = parsePrivateKey(text, phrase);
  const data = Buffer.from('to be signed');
  return key.verify(data, key.sign(data) as Buffer) === true;
}

for (const [name, key] of pairs) {
  test(`PKCS#8 text of a key of type ${name} is read, encrypted or not`, () => {
    expect(works(key.export({ type: 'pkcs8', format: 'pem' }).toString())).toBe(true);
    const locked = key.export({ type: 'pkcs8', format: 'pem', ...protection }).toString();
    expect(works(locked, passphrase)).toBe(true);
    expect(refusal(locked).message).toContain('holds no passphrase');
    expect(refusal(locked, 'wrong').message).toContain('does not open');
  });
}

test('the older PEM forms are read, encrypted or not', () => {
  const [, rsa] = pairs[1] as [string, KeyObject];
  const [, ec] = pairs[2] as [string, KeyObject];
  expect(works(rsa.export({ type: 'pkcs1', format: 'pem' }).toString())).toBe(true);
  expect(works(ec.export({ type: 'sec1', format: 'pem' }).toString())).toBe(true);
  const locked = rsa.export({ type: 'pkcs1', format: 'pem', ...protection }).toString();
  expect(works(locked, passphrase)).toBe(true);
  expect(refusal(locked, 'wrong').message).toContain('does not open');
  expect(refusal(locked).message).toContain('holds no passphrase');
});

for (const type of ['ed25519', 'ecdsa', 'rsa'] as const) {
  test(`OpenSSH text of a key of type ${type} is read, encrypted or not`, () => {
    const bits = type === 'ecdsa' ? 256 : 2048;
    const options = { bits, passphrase, cipher: 'aes256-ctr', rounds: 4 };
    const make = (more: object) =>
      type === 'ed25519' ? ed25519KeyPair(more) : ssh2.utils.generateKeyPairSync(type, more as never);
    expect(works(make({ bits }).private)).toBe(true);
    const locked = make(options).private;
    expect(works(locked, passphrase)).toBe(true);
    expect(refusal(locked).message).toContain('holds no passphrase');
    expect(refusal(locked, 'wrong').message).toContain('does not open');
  });
}

test('text that is not a private key is distinguished from a wrong passphrase', () => {
  const pair = ed25519KeyPair();
  expect(refusal(pair.public).message).toContain('public key');
  expect(refusal('').reason).toBe('credential_unusable');
  expect(refusal(pair.private.slice(0, 200), passphrase).message).toContain("can't be read");
  expect(refusal('-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n').message).toContain(
    'damaged',
  );
});

test('a refusal repeats nothing of the key or its passphrase', () => {
  const locked = ed25519KeyPair({
    passphrase,
    cipher: 'aes256-ctr',
    rounds: 4,
  }).private;
  const error = refusal(locked, 'another secret');
  expect(`${error.message} ${error.advice} ${error.stack}`).not.toContain('another secret');
});

test('a key whose passphrase would take too long to try is refused at once', () => {
  const locked = ed25519KeyPair({ passphrase, cipher: 'aes256-ctr', rounds: 4 }).private;
  const body = Buffer.from(locked.split('\n').slice(1, -1).join(''), 'base64');
  // The rounds stand at the end of the options, behind a salt of 16 bytes.
  const at = body.indexOf('bcrypt') + 6 + 4 + 4 + 16;
  expect(body.readUInt32BE(at)).toBe(4);
  body.writeUInt32BE(1_000_000, at);
  const slow = `-----BEGIN OPENSSH PRIVATE KEY-----\n${body.toString('base64')}\n-----END OPENSSH PRIVATE KEY-----\n`;
  expect(refusal(slow, passphrase)).toMatchObject({
    reason: 'credential_unusable',
    message: expect.stringContaining('1000000 rounds'),
    advice: expect.stringContaining('-a 24'),
  });
  expect(refusal(slow).message).toContain('holds no passphrase');
});
