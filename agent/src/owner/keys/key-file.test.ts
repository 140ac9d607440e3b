import { chmod, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { decodeBase64, sign, verify } from '@opsconductor/protocol/sealing';
import { expect, test } from 'vitest';
import { temporaryDirectory } from '../../testing/enrolled-directory.ts';
import { typedCommand } from '../../typed-command.ts';
import { makeKeyFile, openKeyFile, publicKeyOf, readKeyFile } from './key-file.ts';

/** Cheap: what a guess costs is not tried here. */
const cheap = { N: 16, r: 8, p: 1 };
const passphrase = 'correct horse battery';
const given = async () => passphrase;

async function setup() {
  const { path, remove } = await temporaryDirectory();
  const file = join(path, 'root.key');
  const made = await makeKeyFile(file, 'root', passphrase, cheap);
  return { file, made, [Symbol.asyncDispose]: remove };
}

test('a key opens with its passphrase, and its file is for its owner alone', async () => {
  await using t = await setup();
  const { privateKey, publicKey } = await openKeyFile(t.file, 'root', given);
  const message = new TextEncoder().encode('message');
  expect(await verify(decodeBase64(t.made.publicKey), message, await sign(privateKey, message))).toBe(true);
  expect(publicKey).toEqual(decodeBase64(t.made.publicKey));
  expect((await stat(t.file)).mode & 0o777).toBe(0o600);
  expect(await readFile(t.file, 'utf8')).not.toContain(Buffer.from(privateKey).toString('base64'));
  expect(await readKeyFile(t.file)).toEqual(t.made);
});

test('another passphrase, an altered file and another purpose are refused', async () => {
  await using t = await setup();
  const open = (purpose: 'root' | 'signer' = 'root', words = passphrase) =>
    openKeyFile(t.file, purpose, async () => words);
  await expect(open('root', 'wrong horse battery')).rejects.toThrow('does not open');
  await expect(open('signer')).rejects.toThrow('is a root key; a signer key is needed');
  // What the file says of itself is under the passphrase too.
  await writeFile(t.file, JSON.stringify({ ...t.made, purpose: 'signer' }));
  await expect(open('signer')).rejects.toThrow('does not open');
  await writeFile(t.file, JSON.stringify({ ...t.made, scrypt: { ...t.made.scrypt, N: 2 ** 30 } }));
  await expect(open()).rejects.toThrow('no key file');
});

test('a damaged file is told apart in words, whatever is damaged in it', async () => {
  await using t = await setup();
  const { scrypt } = t.made;
  const other = {
    'no key file': [{ publicKey: '!'.repeat(44) }, { scrypt: { ...scrypt, salt: '!!' } }],
    'does not open': [{ scrypt: { ...scrypt, N: 100 } }, { nonce: 'AA' }, { ciphertext: '!' }],
  };
  for (const [said, damages] of Object.entries(other)) {
    for (const damage of damages) {
      await writeFile(t.file, JSON.stringify({ ...t.made, ...damage }));
      await expect(openKeyFile(t.file, 'root', given)).rejects.toThrow(said);
    }
  }
});

test('the public half is of a key of the purpose that is needed: no segment gets the key of a signer as its root', async () => {
  await using t = await setup();
  expect(await publicKeyOf(t.file, 'root')).toEqual(decodeBase64(t.made.publicKey));
  await expect(publicKeyOf(t.file, 'recovery')).rejects.toMatchObject({
    message: expect.stringContaining('is a root key; a recovery key is needed'),
    fix: expect.stringContaining(`make one by: ${typedCommand()} key make --purpose recovery.`),
  });
});

test('no key is written over, made with a short passphrase, or used while others can read it', async () => {
  await using t = await setup();
  await expect(makeKeyFile(t.file, 'root', passphrase, cheap)).rejects.toThrow('is there already');
  await expect(makeKeyFile(`${t.file}-2`, 'root', 'too short', cheap)).rejects.toThrow('12 is the least');
  await chmod(t.file, 0o644);
  await expect(openKeyFile(t.file, 'root', given)).rejects.toMatchObject({
    fix: `Close it: chmod 600 ${t.file}`,
  });
});
