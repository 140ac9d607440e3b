import { chmod, chown, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  loadOrCreateMasterKeys,
  newMasterKey,
  readMasterKeys,
  requireMasterKey,
  writeMasterKeys,
} from './master-key.ts';

const load = async (options: { file: string; expectedId?: string }) => {
  const [first] = await loadOrCreateMasterKeys(options);
  if (first === undefined) throw new Error('no key');
  return first;
};

let directory: string;
let file: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'master-key-'));
  file = join(directory, 'keys', 'master.json');
});
afterEach(async () => {
  await rm(directory, { recursive: true });
});

describe('the master key file', () => {
  it('is created once, readable only by its owner, and read from then on', async () => {
    const made = await load({ file });
    expect(made.key).toHaveLength(32);
    expect(made.id).toMatch(/^mk-[0-9a-f]{16}$/);
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect(await load({ file, expectedId: made.id })).toEqual(made);
  });

  it('holds id and base64 key as JSON, and leaves nothing else in its directory', async () => {
    const { id, key } = await load({ file });
    expect(JSON.parse(await readFile(file, 'utf8'))).toEqual({ id, key: key.toString('base64') });
    expect(await readdir(dirname(file))).toEqual(['master.json']);
  });

  it('is the same for all servers that start at once', async () => {
    const keys = await Promise.all(Array.from({ length: 8 }, () => load({ file })));
    expect(new Set(keys.map(({ id }) => id)).size).toBe(1);
    expect(await readdir(dirname(file))).toEqual(['master.json']);
  });

  it.each([0o640, 0o604, 0o644, 0o660, 0o610])('is refused with mode %o', async (mode) => {
    await load({ file });
    await chmod(file, mode);
    await expect(load({ file })).rejects.toMatchObject({
      reason: 'exposed',
      message: expect.stringContaining(`chmod 600 ${file}`),
    });
  });

  it('that is a folder is refused without advice to change its mode', async () => {
    await mkdir(file, { recursive: true });
    await expect(load({ file })).rejects.toMatchObject({
      reason: 'unreadable',
      message: `${file} is no file. OPSCONDUCTOR_MASTER_KEY_FILE has to name the master key file itself, such as ${file}/master-key.json.`,
    });
  });

  it('of another user is reported with what to do', async () => {
    await load({ file });
    await chmod(file, 0o000);
    const isRoot = process.geteuid?.() === 0;
    // Root may read everything.
    if (isRoot) process.seteuid?.(65_534);
    try {
      await expect(load({ file })).rejects.toMatchObject({
        reason: 'unreadable',
        message: expect.stringContaining(`may not read the master key file ${file}. Run the server as`),
      });
    } finally {
      if (isRoot) process.seteuid?.(0);
    }
  });

  it('may be read-only', async () => {
    const made = await load({ file });
    await chmod(file, 0o400);
    expect(await load({ file })).toEqual(made);
  });

  it('is not created again if the database is already encrypted', async () => {
    await expect(load({ file, expectedId: 'mk-1' })).rejects.toMatchObject({
      reason: 'missing',
      message: expect.stringContaining('mk-1'),
    });
    await expect(stat(file)).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('is refused if the database is encrypted under another key, with both ids', async () => {
    const { id } = await load({ file });
    const refused = load({ file, expectedId: 'mk-other' });
    await expect(refused).rejects.toMatchObject({ reason: 'wrong_master_key' });
    await expect(refused).rejects.toThrow(`under master key mk-other, but ${file} holds ${id}`);
    expect(() => requireMasterKey([newMasterKey()], id, file)).toThrow(id);
  });

  it('can hold other keys, and is always whole while it is changed', async () => {
    const first = await load({ file });
    const other = newMasterKey();
    await writeMasterKeys(file, [first, other]);
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect(await readMasterKeys(file)).toEqual([first, other]);
    expect(await loadOrCreateMasterKeys({ file, expectedId: other.id })).toHaveLength(2);
    await writeMasterKeys(file, [other]);
    await expect(load({ file, expectedId: first.id })).rejects.toMatchObject({ reason: 'wrong_master_key' });
    expect(await readdir(dirname(file))).toEqual(['master.json']);
  });

  it.runIf(process.getuid?.() === 0)('keeps its owner when root writes it', async () => {
    await load({ file });
    await chown(file, 65_534, 65_533);
    await writeMasterKeys(file, [newMasterKey()]);
    expect(await stat(file)).toMatchObject({ uid: 65_534, gid: 65_533 });
    expect((await stat(file)).mode & 0o777).toBe(0o600);
  });

  it.each<[string, (text: string) => string]>([
    ['is empty', () => ''],
    ['is cut short', (text) => text.slice(0, 40)],
    ['has a flipped letter in the key', (text) => text.replace(/"key":"./, (head) => swapLast(head))],
    ['has another id', (text) => text.replace('mk-', 'mk-0')],
    ['has no key', () => '{"id":"mk-0000000000000000"}'],
    ['is too large', (text) => text + ' '.repeat(5_000)],
    ['is null', () => 'null'],
    ['holds a key twice', (text) => JSON.stringify({ ...JSON.parse(text), others: [JSON.parse(text)] })],
    [
      'holds another that is none',
      (text) => JSON.stringify({ ...JSON.parse(text), others: [{ id: 'mk-1' }] }),
    ],
  ])('is refused as damaged when it %s, without quoting it', async (_, change) => {
    const { key } = await load({ file });
    await writeFile(file, change(await readFile(file, 'utf8')));
    const refused = load({ file });
    await expect(refused).rejects.toMatchObject({ reason: 'damaged' });
    await expect(refused).rejects.not.toThrow(key.toString('base64').slice(4, 20));
  });
});

/** Replaces the last letter by another one. */
function swapLast(text: string): string {
  return text.slice(0, -1) + (text.endsWith('A') ? 'B' : 'A');
}
