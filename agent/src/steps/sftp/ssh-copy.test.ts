import { execFileSync } from 'node:child_process';
import { statSync, watch } from 'node:fs';
import {
  access,
  chmod,
  chown,
  mkdir,
  open,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  truncate,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import { FileThread } from '../../sftp/local/file-thread.ts';
import { SshPool } from '../../ssh/pool/pool.ts';
import { sshTest } from '../../ssh/sshd-setup.ts';
import { setupTransfers } from './sftp-setup.ts';

// Only root may give a directory a group that the target's user is not in.
const rootTest = process.getuid?.() === 0 ? sshTest : test.skip;
const withoutSftp = { config: ['Subsystem sftp /bin/false'] };

sshTest('a tree is copied by SCP if there is no SFTP, and comes back unchanged', async () => {
  const t = await setupTransfers(withoutSftp);
  const large = Buffer.alloc(2_000_000, 'line of text\n');
  await t.put('local', 'set/large', large);
  await t.put('local', "set/d/it's odd", 'odd');
  await t.put('local', 'set/empty', '');
  await chmod(join(t.local, 'set/empty'), 0o640);
  await utimes(join(t.local, 'set/large'), 1_600_000_000, 1_600_000_000);
  const keep = { preserve_permissions: true, preserve_times: true };
  const up = await t.run('copy', {
    local_path: join(t.local, 'set'),
    remote_path: join(t.remote, 'set'),
    ...keep,
  });
  expect(up.outcome).toMatchObject({ status: 'succeeded', ssh: {} });
  expect(up.report?.totals).toMatchObject({ created: 3, directories: 2, bytes: large.length + 3 });
  expect((await readdir(join(t.remote, 'set'), { recursive: true })).sort()).toEqual([
    'd',
    "d/it's odd",
    'empty',
    'large',
  ]);
  expect((await stat(join(t.remote, 'set/empty'))).mode & 0o777).toBe(0o640);
  expect((await stat(join(t.remote, 'set/large'))).mtimeMs).toBe(1_600_000_000_000);
  const down = await t.run('copy', {
    direction: 'pull',
    local_path: join(t.local, 'back'),
    remote_path: join(t.remote, 'set'),
    ...keep,
  });
  expect(down.outcome).toMatchObject({ status: 'succeeded' });
  expect((await readFile(join(t.local, 'back/large'))).equals(large)).toBe(true);
  expect(await readFile(join(t.local, "back/d/it's odd"), 'utf8')).toBe('odd');
  expect((await stat(join(t.local, 'back/large'))).mtimeMs).toBe(1_600_000_000_000);
});

sshTest('a file replaces an existing one, and files of a directory those of an existing one', async () => {
  const t = await setupTransfers(withoutSftp);
  const file = await t.put('local', 'set/f', 'new');
  await t.put('remote', 'set/f', 'old');
  await t.put('remote', 'set/other', 'stays');
  await chmod(join(t.remote, 'set'), 0o777);
  const one = await t.run('copy', {
    local_path: file,
    remote_path: `${t.remote}/new/`,
    create_directories: true,
  });
  expect(one.outcome).toMatchObject({ status: 'succeeded' });
  expect(await readFile(join(t.remote, 'new/f'), 'utf8')).toBe('new');
  const all = await t.run('copy', { local_path: join(t.local, 'set'), remote_path: join(t.remote, 'set') });
  expect(all.outcome).toMatchObject({ status: 'succeeded' });
  expect(await readFile(join(t.remote, 'set/f'), 'utf8')).toBe('new');
  expect((await readdir(join(t.remote, 'set'))).sort()).toEqual(['f', 'other']);
  expect((await readdir(t.remote)).sort()).toEqual(['new', 'set']);
});

sshTest.each([
  ['by SFTP', {}],
  ['by SCP', withoutSftp],
])('a slash at the end of the path decides where a copy %s goes', async (_, how) => {
  const t = await setupTransfers(how);
  await t.put('remote', 'app/f', 'x');
  const pull = async (remote: string, local: string) => {
    const paths = { remote_path: join(t.remote, remote), local_path: `${t.local}/${local}` };
    const { outcome } = await t.run('copy', { direction: 'pull', create_directories: true, ...paths });
    expect([local, outcome]).toMatchObject([local, { status: 'succeeded' }]);
  };
  await pull('app', 'whole/');
  await pull('app/f', 'into/');
  await pull('app/f', 'as');
  // The destination is a link to another directory, which a slash at the end allows.
  await mkdir(join(t.local, 'other'));
  await symlink('other', join(t.local, 'link'));
  await pull('app', 'link/');
  const found = (await readdir(t.local, { recursive: true })).filter((name) => !name.startsWith('link/'));
  expect(found.sort()).toEqual(['as', 'into', 'into/f', 'link', 'other', 'other/f', 'whole', 'whole/f']);
  // Into the agent's file root itself: the content of the directory.
  await pull('app', '');
  expect((await readdir(t.local)).sort()).toEqual(['as', 'f', 'into', 'link', 'other', 'whole']);
});

sshTest.each([
  ['by SFTP', {}],
  ['by SCP', withoutSftp],
])(
  'existing files keep their permissions when they are replaced %s, unless the source’s are preserved',
  async (_, how) => {
    const t = await setupTransfers(how);
    await t.put('remote', 'app/d/f', 'new');
    await t.put('local', 'whole/d/f', 'old');
    const modes: [string, number][] = [
      ['whole', 0o700],
      ['whole/d', 0o770],
      ['whole/d/f', 0o600],
    ];
    for (const [path, mode] of modes) await chmod(join(t.local, path), mode);
    const pull = async (more: object) => {
      const paths = { remote_path: join(t.remote, 'app'), local_path: `${t.local}/whole/` };
      const { outcome } = await t.run('copy', { direction: 'pull', ...paths, ...more });
      expect(outcome).toMatchObject({ status: 'succeeded' });
      const found: [string, number][] = [];
      for (const [path] of modes) found.push([path, (await stat(join(t.local, path))).mode & 0o777]);
      return found;
    };
    expect(await pull({ directory_mode: '0755' })).toEqual(modes);
    expect(await readFile(join(t.local, 'whole/d/f'), 'utf8')).toBe('new');
    await chmod(join(t.remote, 'app'), 0o775);
    await chmod(join(t.remote, 'app/d'), 0o705);
    await chmod(join(t.remote, 'app/d/f'), 0o664);
    expect(await pull({ preserve_permissions: true })).toEqual([
      ['whole', 0o775],
      ['whole/d', 0o705],
      ['whole/d/f', 0o664],
    ]);
  },
);

sshTest.each([
  ['by SFTP', {}],
  ['by SCP', { config: [...withoutSftp.config, 'SetEnv SHLVL=1 LC_ALL=C.UTF-8'] }],
])(
  'a target’s file keeps its permissions when it is replaced %s, unless the step sets others',
  async (_, how) => {
    const t = await setupTransfers(how);
    await t.put('local', 'set/d/f', 'new');
    await t.put('local', 'set/d/new', 'new');
    await t.put('local', 'set/d/-x', 'new');
    for (const name of ['f', 'new', '-x']) await chmod(join(t.local, 'set/d', name), 0o644);
    // The name is not valid text in the target's locale.
    const odd = (side: 'local' | 'remote') =>
      Buffer.concat([Buffer.from(join(t[side], 'set/d/')), Buffer.from([0x63, 0xe9, 0x2e, 0x74])]);
    await writeFile(odd('local'), 'new');
    // Copied first as the target's user, so that this user owns the files and may change their permissions later.
    const first = await t.run('copy', {
      local_path: join(t.local, 'set'),
      remote_path: join(t.remote, 'set'),
    });
    expect(first.outcome).toMatchObject({ status: 'succeeded' });
    await rm(join(t.remote, 'set/d/new'));
    await chmod(join(t.remote, 'set/d/f'), 0o600);
    await chmod(join(t.remote, 'set/d/-x'), 0o4711);
    await chmod(odd('remote'), 0o600);
    const push = async (from: string, more: object = {}) => {
      const paths = { local_path: join(t.local, from), remote_path: join(t.remote, from) };
      const { outcome } = await t.run('copy', { ...paths, ...more });
      expect(outcome).toMatchObject({ status: 'succeeded' });
      const modes: Record<string, number> = {};
      for (const name of ['f', 'new', '-x'])
        modes[name] = (await stat(join(t.remote, 'set/d', name))).mode & 0o7777;
      return modes;
    };
    const kept = { f: 0o600, new: 0o644, '-x': 0o4711 };
    expect(await push('set')).toEqual(kept);
    expect(await readFile(join(t.remote, 'set/d/-x'), 'utf8')).toBe('new');
    expect((await stat(odd('remote'))).mode & 0o7777).toBe(0o600);
    expect(await push('set/d/f')).toEqual(kept);
    expect(await push('set/d/f', { mode: '0640' })).toEqual({ ...kept, f: 0o640 });
    expect(await push('set/d/f', { preserve_permissions: true })).toEqual({ ...kept, f: 0o644 });
  },
);

sshTest('a file that arrives by SCP is open only to its user until it is in its place', async () => {
  const t = await setupTransfers(withoutSftp);
  const file = await t.put('local', 'f', 'new');
  const modes: number[] = [];
  const watcher = watch(t.remote, (_, name) => {
    if (!name?.startsWith('.opsconductor')) return;
    const room = statSync(join(t.remote, name), { throwIfNoEntry: false });
    if (room !== undefined) modes.push(room.mode & 0o777);
  });
  onTestFinished(() => watcher.close());
  const paths = { local_path: file, remote_path: join(t.remote, 'f'), mode: '0644' };
  const { outcome } = await t.run('copy', paths);
  expect(outcome).toMatchObject({ status: 'succeeded' });
  expect(new Set(modes)).toEqual(new Set([0o700]));
  expect((await stat(join(t.remote, 'f'))).mode & 0o777).toBe(0o644);
  expect(await readdir(t.remote)).toEqual(['f']);
});

sshTest(
  'directories copied by SCP into an existing one have the permissions that were asked for',
  async () => {
    const t = await setupTransfers(withoutSftp);
    await t.put('local', 'set/old/f', 'first');
    const push = async (more: object = {}) => {
      const paths = { local_path: join(t.local, 'set'), remote_path: join(t.remote, 'set') };
      const { outcome } = await t.run('copy', { ...paths, ...more });
      expect(outcome).toMatchObject({ status: 'succeeded' });
    };
    await push();
    await chmod(join(t.remote, 'set/old'), 0o710);
    await t.put('local', 'set/old/f', 'second');
    await t.put('local', 'set/old/new/deep/g', 'x');
    await push({ directory_mode: '0555', preserve_times: true });
    expect(await readFile(join(t.remote, 'set/old/f'), 'utf8')).toBe('second');
    expect(await readFile(join(t.remote, 'set/old/new/deep/g'), 'utf8')).toBe('x');
    const modeOf = async (path: string) => (await stat(join(t.remote, path))).mode & 0o777;
    expect(await Promise.all(['set/old', 'set/old/new', 'set/old/new/deep'].map(modeOf))).toEqual([
      0o710, 0o555, 0o555,
    ]);
    expect(await readdir(t.remote)).toEqual(['set']);
  },
);

rootTest('directories copied by SCP into an existing one get its group', async () => {
  const t = await setupTransfers(withoutSftp);
  await t.put('local', 'set/new/f', 'x');
  await t.put('remote', 'set/old', 'x');
  await chown(join(t.remote, 'set'), 0, 1);
  await chmod(join(t.remote, 'set'), 0o2777);
  const paths = { local_path: join(t.local, 'set'), remote_path: join(t.remote, 'set') };
  expect((await t.run('copy', paths)).outcome).toMatchObject({ status: 'succeeded' });
  expect((await stat(join(t.remote, 'set/new'))).gid).toBe(1);
  expect((await readdir(join(t.remote, 'set'))).sort()).toEqual(['new', 'old']);
});

sshTest('a directory copied by SCP does not replace a file', async () => {
  const t = await setupTransfers(withoutSftp);
  await t.put('local', 'set/a/f', 'x');
  await t.put('remote', 'set/a', 'stays');
  await chmod(join(t.remote, 'set'), 0o777);
  const paths = { local_path: join(t.local, 'set'), remote_path: join(t.remote, 'set') };
  const { outcome } = await t.run('copy', paths);
  expect(outcome).toMatchObject({ status: 'failed', reason: 'path_missing' });
  expect(await readFile(join(t.remote, 'set/a'), 'utf8')).toBe('stays');
  expect(await readdir(join(t.remote, 'set'))).toEqual(['a']);
});

sshTest('a file copied by SCP does not replace a directory', async () => {
  const t = await setupTransfers(withoutSftp);
  await t.put('remote', 'f', 'x');
  const { outcome } = await t.run('copy', {
    direction: 'pull',
    remote_path: join(t.remote, 'f'),
    local_path: t.local,
  });
  expect(outcome).toMatchObject({ status: 'failed', reason: 'transfer_failed' });
  expect(outcome.advice).toContain('with a slash at the end');
});

sshTest.each([
  ['a source that is missing', 'pull', { remote_path: '/nowhere/x' }, 'path_missing'],
  ['a file that may not be read', 'pull', { remote_path: '/etc/shadow' }, 'permission_denied'],
  ['a directory that is missing', 'push', { remote_path: '/nowhere/deep/x' }, 'path_missing'],
  ['a place that may not be written', 'push', { remote_path: '/usr/opsconductor-test' }, 'permission_denied'],
])('%s is reported with its reason', async (_, direction, paths, reason) => {
  const t = await setupTransfers(withoutSftp);
  await t.put('local', 'f', 'x');
  const { outcome } = await t.run('copy', { direction, local_path: join(t.local, 'f'), ...paths });
  expect(outcome).toMatchObject({ status: 'failed', reason, advice: expect.any(String) });
  expect(await readFile(join(t.local, 'f'), 'utf8')).toBe('x');
});

sshTest('what a hostile scp sends goes nowhere but into the destination', async () => {
  const t = await setupTransfers(withoutSftp);
  await mkdir(join(t.remote, 'bin'));
  // Stands in for scp: announces the directory, and in it a name that leads out of it.
  const script =
    "#!/bin/sh\nhead -c 1 >/dev/null; printf 'D0755 0 set\\n'; head -c 1 >/dev/null; printf 'C0644 4 ../../escaped\\nevil\\0'; cat >/dev/null\n";
  await writeFile(join(t.remote, 'bin/scp'), script, { mode: 0o755 });
  const hostile = await setupTransfers({
    config: ['Subsystem sftp /bin/false', `SetEnv SHLVL=1 PATH=${t.remote}/bin:/usr/bin:/bin`],
  });
  const { outcome } = await hostile.run('copy', {
    direction: 'pull',
    remote_path: join(t.remote, 'set'),
    local_path: join(hostile.local, 'set'),
  });
  expect(outcome).toMatchObject({ status: 'failed', reason: 'transfer_failed' });
  expect(outcome.message).toContain('leads elsewhere');
  expect(await readdir(hostile.local, { recursive: true })).toEqual(['set']);
  // Trying again would not change that.
  expect((await stat(join(hostile.local, 'set'))).mode & 0o777).toBe(0o755);
});

sshTest(
  'a directory is merged into an existing one, also if its path begins in the home directory',
  async () => {
    const t = await setupTransfers(withoutSftp);
    await t.put('local', 'set/f', 'x');
    await t.put('local', 'more/d/g', 'y');
    for (const name of ['set', 'more']) {
      const { outcome } = await t.run('copy', { local_path: join(t.local, name), remote_path: '~/site' });
      expect([name, outcome]).toMatchObject([name, { status: 'succeeded' }]);
    }
    const back = { direction: 'pull', local_path: join(t.local, 'back'), remote_path: '~/site' };
    expect((await t.run('copy', back)).outcome).toMatchObject({ status: 'succeeded' });
    expect((await readdir(join(t.local, 'back'), { recursive: true })).sort()).toEqual(['d', 'd/g', 'f']);
  },
);

/** A target without SFTP on which a script stands in for scp. */
async function setupStandIn(script: (dir: string) => string) {
  const { remote } = await setupTransfers(withoutSftp);
  const dir = join(remote, 'bin');
  await mkdir(dir);
  await chmod(dir, 0o777);
  await writeFile(join(dir, 'scp'), `#!/bin/sh\n${script(dir)}\n`, { mode: 0o755 });
  const path = `SetEnv SHLVL=1 PATH=${dir}:/usr/bin:/bin`;
  return { t: await setupTransfers({ config: [...withoutSftp.config, path] }), dir };
}

const nextAnswer = 'head -c 1 >/dev/null';

sshTest(
  'a directory of which the connection brings only the beginning is not said to be copied',
  async () => {
    const { t } = await setupStandIn(() =>
      [
        `${nextAnswer}; printf 'D0755 0 set\\n'; ${nextAnswer}; printf 'C0644 4 first\\n'; ${nextAnswer}`,
        `printf 'text\\0'; ${nextAnswer}`,
      ].join('; '),
    );
    const paths = { remote_path: '/srv/set', local_path: join(t.local, 'set') };
    const { outcome, report } = await t.run('copy', { direction: 'pull', ...paths });
    expect(outcome).toMatchObject({ status: 'failed', reason: 'transfer_cut' });
    expect(report?.totals).toMatchObject({ created: 1, failed: 1 });
    expect(report?.rows).toMatchObject([
      { status: 'failed', remotePath: '/srv/set' },
      { status: 'completed', remotePath: '/srv/set/first' },
    ]);
  },
);

sshTest('a file that scp could not read to its end does not get its name', async () => {
  const { t } = await setupStandIn(
    () =>
      `${nextAnswer}; printf 'C0644 4 f\\n'; ${nextAnswer}; printf 'text\\1scp: f: Input/output error\\n'; cat >/dev/null`,
  );
  await t.put('local', 'f', 'the old one');
  const paths = { remote_path: '/srv/f', local_path: join(t.local, 'f') };
  const { outcome, report } = await t.run('copy', { direction: 'pull', ...paths });
  expect(outcome).toMatchObject({ status: 'failed', reason: 'transfer_failed' });
  expect(report?.rows).toMatchObject([
    { status: 'failed', remotePath: '/srv/f', localPath: paths.local_path, error: outcome.message },
  ]);
  expect(await readdir(t.local)).toEqual(['f']);
  expect(await readFile(join(t.local, 'f'), 'utf8')).toBe('the old one');
});

sshTest.each([
  [
    'overwritten',
    async (path: string) => {
      await using file = await open(path, 'r+');
      await file.write(Buffer.from('new'), 0, 3, 8_500_000);
    },
  ],
  ['cut short', (path: string) => truncate(path, 8_000_000)],
])('a file that is %s while SCP sends it does not get its name', async (_, change) => {
  // The real scp, which gets the middle of the file only once the test says so.
  const { t, dir } = await setupStandIn(
    (places) =>
      `{ dd bs=64k count=20 2>/dev/null; : >${places}/half; read x <${places}/gate; cat; } | exec /usr/bin/scp "$@"`,
  );
  execFileSync('mkfifo', ['-m', '666', join(dir, 'gate')]);
  const file = await t.put('local', 'f', Buffer.alloc(9_000_000, 'old'));
  await utimes(file, 1_700_000_000, 1_700_000_000);
  const running = t.run('copy', { local_path: file, remote_path: join(t.remote, 'f') });
  await vi.waitFor(() => access(join(dir, 'half')), { timeout: 20_000, interval: 20 });
  await change(file);
  await writeFile(join(dir, 'gate'), '\n');
  expect((await running).outcome).toMatchObject({ status: 'failed', reason: 'file_changed' });
  expect(await readdir(t.remote)).toEqual([]);
});

/** A target without SFTP whose mv only reports that it was called; the copy to `to/f` stands still there. */
async function setupStalled() {
  const t = await setupTransfers(withoutSftp);
  await mkdir(join(t.remote, 'bin'));
  await mkdir(join(t.remote, 'to'));
  await chmod(join(t.remote, 'to'), 0o777);
  const script = `#!/bin/sh\n: > ${t.remote}/called; exec sleep 30\n`;
  await writeFile(join(t.remote, 'bin/mv'), script, { mode: 0o755 });
  const stalled = await setupTransfers({
    config: ['Subsystem sftp /bin/false', `SetEnv SHLVL=1 PATH=${t.remote}/bin:/usr/bin:/bin`],
  });
  const file = await stalled.put('local', 'f', 'x');
  const running = stalled.run('copy', { local_path: file, remote_path: join(t.remote, 'to/f') });
  await vi.waitFor(() => access(join(t.remote, 'called')), { timeout: 20_000, interval: 20 });
  return { t: stalled, running, left: () => readdir(join(t.remote, 'to')) };
}

sshTest('a target that stops answering does not delay a stop, and nothing is left there', async () => {
  const { t, running, left } = await setupStalled();
  t.stop();
  expect((await running).outcome).toMatchObject({ status: 'cancelled', reason: 'cancelled' });
  expect(await left()).toEqual([]);
});

sshTest('what a copy by SCP left is removed once the target can be reached again', async () => {
  const { t, running, left } = await setupStalled();
  using opened = vi.spyOn(SshPool.prototype, 'open');
  await t.sshd.stop();
  await vi.waitFor(() => expect(opened).toHaveBeenCalled(), { timeout: 20_000 });
  expect(await left()).toHaveLength(1);
  await t.sshd.restart();
  const { outcome, stderr } = await running;
  expect(outcome).toMatchObject({ status: 'failed' });
  expect(stderr).not.toContain('unfinished');
  expect(await left()).toEqual([]);
});

sshTest('what a copy by SCP left and could not remove is named in the output', async () => {
  const { t, running, left } = await setupStalled();
  await t.sshd.stop();
  t.stop();
  const { stderr } = await running;
  const [name] = await left();
  expect(stderr).toMatch(new RegExp(`/to/\\${name}: unfinished, and may still be there`));
});

sshTest('copying a directory of many files by SCP leaves no thread behind', async () => {
  const t = await setupTransfers(withoutSftp);
  for (let n = 0; n < 64; n += 1) await t.put('local', `set/${n}`, '');
  using taken = vi.spyOn(FileThread, 'take');
  using released = vi.spyOn(FileThread.prototype, 'release');
  const paths = { local_path: join(t.local, 'set'), remote_path: join(t.remote, 'set') };
  expect((await t.run('copy', paths)).outcome).toMatchObject({ status: 'succeeded' });
  expect(taken).toHaveBeenCalled();
  expect(released).toHaveBeenCalledTimes(taken.mock.calls.length);
});

sshTest('a circular link fails alone', async () => {
  const t = await setupTransfers(withoutSftp);
  await t.put('local', 'set/f', 'x');
  await symlink('.', join(t.local, 'set/again'));
  const { outcome, report } = await t.run('copy', {
    local_path: join(t.local, 'set'),
    remote_path: join(t.remote, 'set'),
  });
  expect(outcome).toMatchObject({ status: 'failed', reason: 'path_refused' });
  expect(report?.totals).toMatchObject({ created: 1, failed: 1 });
  expect(await readdir(join(t.remote, 'set'), { recursive: true })).toEqual(['f']);
});

sshTest('a copy by SCP that breaks off has put nothing in its place, and says so', async () => {
  const answered = "read -r line; printf '\\0'";
  const { t } = await setupStandIn(() =>
    [
      `printf '\\0'; ${answered}; ${answered}`,
      "head -c 5 >/dev/null; printf '\\0'; read -r line",
      "printf '\\1scp: second: No space left on device\\n'; cat >/dev/null",
    ].join('; '),
  );
  await t.put('local', 'set/a', 'text');
  await t.put('local', 'set/b', 'more');
  const to = join(t.remote, 'set');
  const paths = { local_path: join(t.local, 'set'), remote_path: to };
  const { outcome, stdout, report } = await t.run('copy', paths);
  expect(outcome).toMatchObject({ status: 'failed', reason: 'no_space' });
  expect(outcome.message).toMatch(
    new RegExp(`^${to}/[ab] on [^ ]+ could not be written: no space is left\\.$`),
  );
  expect(stdout).toContain('Uploaded 0 B');
  expect(report).toMatchObject({ totals: { created: 0, directories: 0, bytes: 0, failed: 1 } });
  expect(report?.rows).toMatchObject([
    {
      status: 'failed',
      remotePath: expect.stringMatching(/set\/[ab]$/),
      error: outcome.message,
      fileSize: 4,
    },
  ]);
  expect(await readdir(t.remote)).toEqual([]);
});

sshTest('the rows of a copy by SCP have both paths', async () => {
  const t = await setupTransfers(withoutSftp);
  await t.put('local', 'set/d/f', 'text');
  const [local, remote] = [join(t.local, 'set'), join(t.remote, 'set')];
  const up = await t.run('copy', { local_path: local, remote_path: `${remote}/` });
  expect(up.report?.rows).toMatchObject([{ localPath: `${local}/d/f`, remotePath: `${remote}/d/f` }]);
  const back = `${local}-back`;
  const down = await t.run('copy', { direction: 'pull', local_path: back, remote_path: remote });
  expect(down.report?.rows).toMatchObject([{ localPath: `${back}/d/f`, remotePath: `${remote}/d/f` }]);
});

sshTest('a file that scp may not read is named as the target names it', async () => {
  const t = await setupTransfers(withoutSftp);
  const secret = await t.put('remote', 'set/secret', 'text');
  await chmod(secret, 0o000);
  const paths = { remote_path: join(t.remote, 'set'), local_path: join(t.local, 'set') };
  const { outcome, report } = await t.run('copy', { direction: 'pull', ...paths });
  expect(outcome).toMatchObject({ status: 'failed', reason: 'permission_denied' });
  expect(outcome.message).toContain(`${secret} on`);
  expect(report?.rows).toMatchObject([{ status: 'failed', remotePath: secret }]);
});

sshTest(
  'a directory that may not be written to is reported, and nothing is said to be left in it',
  async () => {
    const t = await setupTransfers(withoutSftp);
    const file = await t.put('local', 'f', 'text');
    const closed = join(t.remote, 'closed');
    await mkdir(closed, { mode: 0o000 });
    const paths = { local_path: file, remote_path: `${closed}/` };
    const { outcome, stderr, report } = await t.run('copy', paths);
    expect(outcome).toMatchObject({ status: 'failed', reason: 'permission_denied' });
    expect(stderr).not.toContain('unfinished');
    expect(report?.rows).toMatchObject([{ status: 'failed', localPath: file, error: outcome.message }]);
  },
);
