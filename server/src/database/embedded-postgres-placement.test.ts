// Which account runs postgres, and from where: as root and as a plain user, under homes that others can't enter.
import { execFile } from 'node:child_process';
import { chmod, chown, mkdir, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import { findBinaryPackage } from './postgres/postgres-binaries.ts';
import { copyPackageWithoutLinks, setup, startServerProcess } from './testing/setup.ts';

const run = promisify(execFile);
const root = process.getuid?.() === 0;
const plainUser = root ? { uid: 65534, gid: 65534 } : {};

/** A user's home of mode 0700 that holds the package as npm unpacks it. */
async function makeHome(folder: string, owner: { uid?: number; gid?: number } = {}) {
  const home = join(folder, 'home');
  await mkdir(home, { mode: 0o700 });
  const packageFolder = await copyPackageWithoutLinks(findBinaryPackage(), join(home, 'package'));
  if (owner.uid !== undefined && owner.gid !== undefined) await chown(home, owner.uid, owner.gid);
  return { home, packageFolder, dataDir: join(home, 'data') };
}

test('a plain user keeps everything under a home of mode 0700, restarts and adopts', async () => {
  const t = await setup();
  const { home, packageFolder, dataDir } = await makeHome(t.folder, plainUser);

  const first = await startServerProcess({ dataDir, packageFolder }, plainUser);
  await t.connect(first.url)`CREATE TABLE kept AS SELECT 42 AS answer`;
  await first.kill('SIGTERM');
  const second = await startServerProcess({ dataDir, packageFolder }, plainUser);
  expect([...(await t.connect(second.url)`SELECT answer FROM kept`)]).toEqual([{ answer: 42 }]);
  expect((await stat(join(dataDir, 'cluster'))).uid).toBe((await stat(home)).uid);
  await second.kill('SIGKILL');
  const third = await startServerProcess({ dataDir, packageFolder }, plainUser);
  expect(third).toMatchObject({ adopted: true, pid: second.pid });
  await third.kill('SIGTERM');
});

describe.runIf(root)('as root', () => {
  test('postgres runs as a user that exists and the secrets stay with root', async () => {
    const t = await setup();
    const database = await t.start();

    const cluster = await stat(join(t.dataDir, 'cluster'));
    expect(cluster.uid).not.toBe(0);
    expect((await stat(`/proc/${database.pid}`)).uid).toBe(cluster.uid);
    expect((await stat(join(t.dataDir, 'credentials.json'))).uid).toBe(0);
    const environment = await readFile(`/proc/${database.pid}/environ`, 'latin1');
    expect(
      environment
        .split('\0')
        .filter(Boolean)
        .map((entry) => entry.split('=')[0]),
    ).toEqual(expect.arrayContaining(['PATH', 'LC_ALL', 'TZ']));
    expect(environment).not.toContain('VITEST');
  });

  test('under a home of mode 0700 binaries and database are placed outside and found again', async () => {
    const t = await setup();
    const { home, packageFolder, dataDir } = await makeHome(t.folder);
    const options = { dataDir, packageFolder };

    const first = await t.start(options);
    await t.connect(first.url)`CREATE TABLE kept AS SELECT 42 AS answer`;
    await first.stop();
    expect(t.messages.join('\n')).toMatch(/the database is placed in .*\n.*Copying the PostgreSQL binaries/);

    const second = await t.start(options);
    expect([...(await t.connect(second.url)`SELECT answer FROM kept`)]).toEqual([{ answer: 42 }]);
    expect((await stat(home)).mode & 0o777).toBe(0o700);
    expect(t.messages.filter((message) => message.includes('Copying'))).toHaveLength(1);
  });

  test('a strict umask, now or when the package was installed, does not lock the other user out', async () => {
    const t = await setup();
    const { packageFolder, dataDir } = await makeHome(t.folder);
    await run('chmod', ['-R', 'go-rwx', packageFolder]);
    const before = process.umask(0o077);
    try {
      await t.start({ packageFolder, dataDir });
    } finally {
      process.umask(before);
    }
  });

  test("a database that a plain user made keeps running under that user's id", async () => {
    const t = await setup();
    const { packageFolder, dataDir } = await makeHome(t.folder, plainUser);
    const first = await startServerProcess({ dataDir, packageFolder }, plainUser);
    await first.kill('SIGTERM');
    await chmod(join(t.folder, 'home'), 0o711);

    const second = await t.start({ dataDir, packageFolder });
    expect((await stat(`/proc/${second.pid}`)).uid).toBe(plainUser.uid);
  });

  test('after root has started and stopped the database, its own user can start it, and is told if it may not open a file', async () => {
    const t = await setup();
    const { packageFolder, dataDir } = await makeHome(t.folder, plainUser);
    const startAsUser = () => startServerProcess({ dataDir, packageFolder }, plainUser);
    await (await startAsUser()).kill('SIGTERM');
    // As in a copy that was made without the log.
    await rm(join(dataDir, 'postgres.log'));

    await (await t.start({ dataDir, packageFolder })).stop();
    await (await startAsUser()).kill('SIGTERM');

    const lock = (await readdir(dataDir)).find((name) => name.startsWith('server.lock.')) ?? '';
    for (const name of [lock, 'postgres.log']) {
      await chown(join(dataDir, name), 0, 0);
      await expect(startAsUser()).rejects.toThrow(
        `${name} can't be opened: it belongs to user id 0, this server runs as user id ${plainUser.uid}.`,
      );
      await chown(join(dataDir, name), 65534, 65534);
    }
  });

  test('a placed database that is missing is not replaced by an empty one', async () => {
    const t = await setup();
    const { packageFolder, dataDir } = await makeHome(t.folder);
    await (await t.start({ packageFolder, dataDir })).stop();
    const pointer = JSON.parse(await readFile(join(dataDir, 'placement.json'), 'utf8'));
    await chmod(pointer.home, 0o700);
    await expect(t.start({ packageFolder, dataDir })).rejects.toThrow();
    await chmod(pointer.home, 0o755);
    await rename(pointer.home, `${pointer.home}.away`);
    await expect(t.start({ packageFolder, dataDir })).rejects.toThrow(/which is not there/);
    await rename(`${pointer.home}.away`, pointer.home);
  });

  test('binaries are not run from a folder that another user could write', async () => {
    const t = await setup();
    const { packageFolder, dataDir } = await makeHome(t.folder);
    const system = join(t.folder, 'system');
    await mkdir(join(system, 'binaries'), { recursive: true });
    await chown(join(system, 'binaries'), 65534, 65534);
    await expect(t.start({ packageFolder, dataDir })).rejects.toThrow(/must belong to root/);
  });
});
