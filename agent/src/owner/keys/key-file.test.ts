import { chmod, type FileHandle, open, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { decodeBase64, sign, verify } from '@opsconductor/protocol/sealing';
import { expect, onTestFinished, test, vi } from 'vitest';
import { typedCommand } from '../../command-line/typed-command.ts';
import { temporaryDirectory } from '../../testing/enrolled-directory.ts';
import { makeKeyFile, openKeyFile, publicKeyOf, readKeyFile } from './key-file.ts';

/** Cheap: the cost of a guess is not tested here. */
const cheap = { N: 16, r: 8, p: 1 };
const passphrase = 'correct horse battery';
const given = async () => passphrase;

async function setup() {
  const { path, remove } = await temporaryDirectory();
  const file = join(path, 'root.key');
  const made = await makeKeyFile(file, 'root', passphrase, cheap);
  return { file, made, [Symbol.asyncDispose]: remove };
}

test('a key opens with its passphrase, and only its owner can read the file', async () => {
  await using t = await setup();
  const { privateKey, publicKey } = await openKeyFile(t.file, 'root', given);
  const message = new TextEncoder().encode('message');
  expect(await verify(decodeBase64(t.made.publicKey), message, await sign(privateKey, message))).toBe(true);
  expect(publicKey).toEqual(decodeBase64(t.made.publicKey));
  expect((await stat(t.file)).mode & 0o777).toBe(0o600);
  expect(await readFile(t.file, 'utf8')).not.toContain(Buffer.from(privateKey).toString('base64'));
  expect(await readKeyFile(t.file)).toEqual(t.made);
});

test('a wrong passphrase, an altered file and another purpose are refused', async () => {
  await using t = await setup();
  const open = (purpose: 'root' | 'signer' = 'root', words = passphrase) =>
    openKeyFile(t.file, purpose, async () => words);
  await expect(open('root', 'wrong horse battery')).rejects.toThrow('does not open');
  await expect(open('signer')).rejects.toThrow('is a root key; a signer key is needed');
  // The passphrase also authenticates what the file says about itself.
  await writeFile(t.file, JSON.stringify({ ...t.made, purpose: 'signer' }));
  await expect(open('signer')).rejects.toThrow('does not open');
  await writeFile(t.file, JSON.stringify({ ...t.made, scrypt: { ...t.made.scrypt, N: 2 ** 30 } }));
  await expect(open()).rejects.toThrow('not a key file');
});

test('each guess of a passphrase costs 128 MiB, and no file that costs less is made', async () => {
  await using t = await setup();
  const { scrypt } = await makeKeyFile(`${t.file}-2`, 'root', passphrase);
  expect(128 * scrypt.N * scrypt.r).toBe(128 * 1024 * 1024);
  expect((await openKeyFile(`${t.file}-2`, 'root', given)).purpose).toBe('root');
});

test('a damaged file gives a clear error, whatever is damaged in it', async () => {
  await using t = await setup();
  const { scrypt } = t.made;
  const other = {
    'not a key file': [{ publicKey: '!'.repeat(44) }, { scrypt: { ...scrypt, salt: '!!' } }],
    'does not open': [{ scrypt: { ...scrypt, N: 100 } }, { nonce: 'AA' }, { ciphertext: '!' }],
  };
  for (const [said, damages] of Object.entries(other)) {
    for (const damage of damages) {
      await writeFile(t.file, JSON.stringify({ ...t.made, ...damage }));
      await expect(openKeyFile(t.file, 'root', given)).rejects.toThrow(said);
    }
  }
});

test('the public half must be of a key with the right purpose: no segment gets a signer’s key as its root', async () => {
  await using t = await setup();
  expect(await publicKeyOf(t.file, 'root')).toEqual(decodeBase64(t.made.publicKey));
  await expect(publicKeyOf(t.file, 'recovery')).rejects.toMatchObject({
    message: expect.stringContaining('is a root key; a recovery key is needed'),
    fix: expect.stringContaining(`make one with: ${typedCommand()} key make --purpose recovery.`),
  });
});

test('no key is overwritten, made with a short passphrase, or used while others can read it', async () => {
  await using t = await setup();
  await expect(makeKeyFile(t.file, 'root', passphrase, cheap)).rejects.toThrow('already exists');
  await expect(makeKeyFile(`${t.file}-2`, 'root', 'too short', cheap)).rejects.toThrow(
    'at least 12 are required',
  );
  await chmod(t.file, 0o644);
  await expect(openKeyFile(t.file, 'root', given)).rejects.toMatchObject({
    fix: `Restrict it: chmod 600 ${t.file}`,
  });
});

/** Lets every file and folder be synced, unless it is one whose sync fails. */
async function watchSyncs(folder: string, fails: 'file' | 'folder' | undefined) {
  const handle = await open(folder);
  const prototype = Object.getPrototypeOf(handle) as FileHandle;
  await handle.close();
  const { sync } = prototype;
  const synced: string[] = [];
  const spy = vi.spyOn(prototype, 'sync').mockImplementation(async function (this: FileHandle) {
    const kind = (await this.stat()).isDirectory() ? 'folder' : 'file';
    if (kind === fails) throw Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' });
    await sync.call(this);
    synced.push(kind);
  });
  onTestFinished(() => spy.mockRestore());
  return synced;
}

test('a new key and its name are on disk before anybody relies on it', async () => {
  await using t = await setup();
  const synced = await watchSyncs(dirname(t.file), undefined);
  await makeKeyFile(`${t.file}-2`, 'recovery', passphrase, cheap);
  expect(synced).toEqual(['file', 'folder']);
});

test.each(['file', 'folder'] as const)(
  'of a key whose %s can’t be written nothing is left',
  async (fails) => {
    await using t = await setup();
    await watchSyncs(dirname(t.file), fails);
    await expect(makeKeyFile(`${t.file}-2`, 'root', passphrase, cheap)).rejects.toThrow('no space left');
    expect(await readdir(dirname(t.file))).toEqual(['root.key']);
  },
);
