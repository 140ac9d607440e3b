// Many small files at once, in a tar stream. The target's tar is a stand-in that can be told to misbehave.
import { createHash } from 'node:crypto';
import { chmod, mkdir, readdir, readFile, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, vi } from 'vitest';
import { temporaryPrefix } from '../../sftp/tree/temporary-name.ts';
import { sshTest } from '../../ssh/sshd-setup.ts';
import { type SftpSetup, setupTransfers } from './sftp-setup.ts';

const odd = ['a\nnew line', '-rf', "it's $(x) \\n", '\u00e9', 'x'.repeat(250), '.hidden', ' '];

const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');

interface StreamSetup extends SftpSetup {
  /** Returns the arguments of each call of `tar`, one line each. */
  calls(): Promise<string[]>;
  /** Makes 8 directories with 12 files each below `top`. */
  fill(side: 'local' | 'remote', top: string): Promise<Map<string, string>>;
  /** Returns the SHA-256 of all files below a directory. */
  filesOf(directory: string): Promise<Map<string, string>>;
  leftovers(): Promise<string[]>;
}

/** @param tar the body of a shell script that stands in for `tar`; `$tar` is the real one. */
async function setup(tar = 'exec $tar "$@"'): Promise<StreamSetup> {
  let bin = '';
  const lines: string[] = [];
  const t = await setupTransfers({ config: lines }, undefined, ({ remote }) => {
    bin = join(remote, '..', 'bin');
    lines.push(`SetEnv PATH=${bin}:/usr/bin:/bin`);
  });
  const log = join(t.remote, '..', 'calls');
  await mkdir(bin);
  await writeFile(log, '');
  await chmod(log, 0o666);
  const script = `#!/bin/sh\ntar=/usr/bin/tar; [ "$1" = --version ] && exec $tar "$@"\necho "$@" >> ${log}\n${tar}\n`;
  await writeFile(join(bin, 'tar'), script, { mode: 0o755 });
  const filesOf = async (directory: string) => {
    const found = new Map<string, string>();
    for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
      const path = join(entry.parentPath, entry.name);
      if (entry.isFile()) found.set(path.slice(directory.length + 1), sha256(await readFile(path)));
    }
    return found;
  };
  return {
    ...t,
    calls: async () => (await readFile(log, 'utf8')).split('\n').filter((line) => line !== ''),
    async fill(side, top) {
      for (let n = 0; n < 96; n += 1) {
        const name = n < 12 ? (odd[n] ?? `f${n}`) : `f${n}`;
        const path = await t.put(
          side,
          `${top}/d${n % 8}/${name}`,
          `./keep\ncontent of ${n}\n`.repeat(n * 20),
        );
        await chmod(path, 0o604);
        await utimes(path, 1_600_000_000 + n, 1_600_000_000 + n);
      }
      return filesOf(join(side === 'local' ? t.local : t.remote, top));
    },
    filesOf,
    async leftovers() {
      const names = await readdir(join(t.remote, '..'), { recursive: true });
      return names.filter((name) => name.includes(temporaryPrefix));
    },
  };
}

sshTest('many small files go up and come back unchanged, in a few streams', async () => {
  const t = await setup();
  const files = await t.fill('local', 'set');
  const preserve = { preserve_permissions: true, preserve_times: true };
  const places = { local_path: join(t.local, 'set'), remote_path: join(t.remote, 'set') };
  const up = await t.run('upload', { ...places, ...preserve });
  expect(up.outcome).toMatchObject({ status: 'succeeded' });
  expect(up.report?.totals).toMatchObject({ created: 96, directories: 9, failed: 0 });
  expect(await t.filesOf(places.remote_path)).toEqual(files);
  const one = await stat(join(places.remote_path, 'd4/f20'));
  expect([one.mode & 0o7777, one.mtimeMs]).toEqual([0o604, 1_600_000_020_000]);
  const back = { remote_path: places.remote_path, local_path: join(t.local, 'back') };
  const down = await t.run('download', { ...back, ...preserve });
  expect(down.report?.totals).toMatchObject({ created: 96, directories: 9, failed: 0 });
  expect(await t.filesOf(back.local_path)).toEqual(files);
  const other = await stat(join(back.local_path, 'd4/f20'));
  expect([other.mode & 0o7777, other.mtimeMs]).toEqual([0o604, 1_600_000_020_000]);
  const calls = await t.calls();
  for (const way of ['-x', '-c']) {
    const times = calls.filter((line) => line.startsWith(way)).length;
    expect(times).toBeGreaterThan(0);
    expect(times).toBeLessThan(9);
  }
  expect(await t.leftovers()).toEqual([]);
});

sshTest('replaced files keep their modes, and other files between them stay', async () => {
  const t = await setup();
  const files = await t.fill('local', 'set');
  await t.fill('remote', 'set');
  await t.put('remote', 'set/d0/other', 'stays');
  for (const path of ['set', ...[...Array(8).keys()].map((n) => `set/d${n}`)])
    await chmod(join(t.remote, path), 0o777);
  const kept = join(t.remote, 'set/d4/f20');
  await writeFile(kept, 'old');
  await chmod(kept, 0o606);
  const places = { local_path: join(t.local, 'set'), remote_path: join(t.remote, 'set') };
  const up = await t.run('upload', places);
  expect(up.report?.totals).toMatchObject({ created: 0, changed: 96, failed: 0 });
  expect(await t.filesOf(join(t.remote, 'set'))).toEqual(
    new Map([...files, ['d0/other', sha256(Buffer.from('stays'))]]),
  );
  expect((await stat(kept)).mode & 0o7777).toBe(0o606);
  expect((await t.calls()).length).toBeGreaterThan(0);
  expect(await t.leftovers()).toEqual([]);
});

sshTest.each([
  ['fails', 'exit 2'],
  ['says that it went well and did nothing', 'cat >/dev/null'],
  ['says that it went well and read nothing', ''],
  ['does half of it', 'head -c 20000 | $tar "$@" 2>/dev/null; cat >/dev/null; exit 2'],
  ['prints something else', 'cat >/dev/null; yes | head -c 3000000'],
  ['packs other files', 'cat >/dev/null; cd /etc && exec $tar -c -f - -b 1 --format=gnu ./passwd ./hosts'],
  ['packs links and ways out', 'cat >/dev/null; cd ../ways-out && exec $tar -c -f - -b 1 --format=gnu -P .'],
])('if tar %s, files are copied one by one', async (_, tar) => {
  const t = await setup(tar);
  await mkdir(join(t.remote, 'ways-out'));
  await symlink('/etc/passwd', join(t.remote, 'ways-out/d0'));
  await t.put('remote', 'ways-out/d4/f20', 'not this one');
  await t.put('remote', 'keep', '');
  await chmod(join(t.remote, 'keep'), 0o666);
  const files = await t.fill('local', 'set');
  const places = { local_path: join(t.local, 'set'), remote_path: join(t.remote, 'set') };
  const up = await t.run('upload', places);
  expect(up.outcome).toMatchObject({ status: 'succeeded' });
  expect(await t.filesOf(places.remote_path)).toEqual(files);
  const back = join(t.local, 'back');
  const down = await t.run('download', { remote_path: places.remote_path, local_path: back });
  expect(down.outcome).toMatchObject({ status: 'succeeded' });
  expect(await t.filesOf(back)).toEqual(files);
  expect((await t.calls()).length).toBeGreaterThan(0);
  expect(await t.leftovers()).toEqual([]);
  // No file's content is taken for an order to the shell that removes leftovers.
  expect(await readdir(t.remote)).toContain('keep');
});

sshTest('a file that may not be read fails alone', async () => {
  const t = await setup();
  await t.fill('remote', 'set');
  await chmod(join(t.remote, 'set/d4/f20'), 0);
  const down = await t.run('download', {
    remote_path: join(t.remote, 'set'),
    local_path: join(t.local, 'set'),
  });
  expect(down.outcome).toMatchObject({ status: 'failed', reason: 'permission_denied' });
  expect(down.report?.totals).toMatchObject({ created: 95, failed: 1 });
});

sshTest(
  'a connection that is cut in the middle of a stream leaves nothing behind, and the rest is copied',
  async () => {
    // Kills the sshd process that serves the connection.
    const cut =
      'p=$PPID; while read -r a name b parent c < /proc/$p/stat; do case $name in "(sshd"*) kill -9 $p; exit 2;; esac; p=$parent; done';
    const t = await setup(`head -c 20000 | $tar "$@" 2>/dev/null; ${cut}`);
    const files = await t.fill('local', 'set');
    const places = { local_path: join(t.local, 'set'), remote_path: join(t.remote, 'set') };
    const { outcome } = await t.run('upload', places);
    expect(outcome).toMatchObject({ status: 'succeeded' });
    // A shell on the target removes leftovers once it notices that the agent is gone.
    await vi.waitFor(async () => expect(await t.leftovers()).toEqual([]), { timeout: 20_000 });
    expect(await t.filesOf(places.remote_path)).toEqual(files);
    expect((await t.calls()).length).toBeGreaterThan(0);
  },
);

sshTest('a stop ends a stream that is still running', async () => {
  const t = await setup(
    'head -c 20000 | $tar "$@" 2>/dev/null; while [ -e ../remote/hold ]; do sleep 0.05; done',
  );
  await t.put('remote', 'hold', '');
  await t.fill('local', 'set');
  const places = { local_path: join(t.local, 'set'), remote_path: join(t.remote, 'set') };
  const running = t.run('upload', places);
  await vi.waitFor(async () => expect(await t.calls()).toHaveLength(1), { timeout: 20_000 });
  t.stop();
  expect((await running).outcome).toMatchObject({ status: 'cancelled', reason: 'cancelled' });
  await rm(join(t.remote, 'hold'));
  await vi.waitFor(async () => expect(await t.leftovers()).toEqual([]), { timeout: 20_000 });
  expect((await t.filesOf(t.remote)).size).toBe(0);
});
