import { statSync, watch } from 'node:fs';
import {
  chmod,
  chown,
  mkdir,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import { FileThread } from '../../sftp/local/file-thread.ts';
import { sshTest } from '../../ssh/sshd-setup.ts';
import { setupTransfers, withoutSftp } from './sftp-setup.ts';

// Only root may give a directory a group that the target's user is not in.
const rootTest = process.getuid?.() === 0 ? sshTest : test.skip;

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
