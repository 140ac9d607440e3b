import { createHash } from 'node:crypto';
import { mkdirSync, symlinkSync } from 'node:fs';
import {
  chmod,
  chown,
  lstat,
  mkdir,
  readdir,
  readFile,
  readlink,
  stat,
  symlink,
  utimes,
} from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'vitest';
import { sshTest } from '../../ssh/sshd-setup.ts';
import { type SftpSetup, setupTransfers } from './sftp-setup.ts';

const mode = async (path: string) => ((await lstat(path)).mode & 0o7777).toString(8);

/** Returns everything below a directory: path, kind, mode and content or target, one line each. */
async function treeOf(directory: string, at = ''): Promise<string[]> {
  const names = (await readdir(join(directory, at))).sort();
  const lines: string[] = [];
  for (const name of names) {
    const path = join(at, name);
    const stats = await lstat(join(directory, path));
    const bits = (stats.mode & 0o777).toString(8);
    if (stats.isSymbolicLink()) lines.push(`${path} -> ${await readlink(join(directory, path))}`);
    else if (stats.isDirectory()) lines.push(`${path}/ ${bits}`, ...(await treeOf(directory, path)));
    else {
      const hash = createHash('sha256')
        .update(await readFile(join(directory, path)))
        .digest('hex');
      lines.push(`${path} ${bits} ${Math.floor(stats.mtimeMs / 1_000)} ${hash}`);
    }
  }
  return lines;
}

sshTest('a file of any size goes up and comes back', async () => {
  const t = await setupTransfers();
  const bytes = Buffer.alloc(5_000_000, 'a line of text that repeats\n');
  const file = await t.put('local', 'app.tar', bytes);
  const up = await t.run('upload', {
    local_path: file,
    remote_path: join(t.remote, 'opt/app.tar'),
    create_directories: true,
    mode: '0640',
    preserve_times: true,
    verify: 'checksum',
  });
  expect(up.outcome).toMatchObject({ status: 'succeeded', ssh: { reused: false } });
  expect((await readFile(join(t.remote, 'opt/app.tar'))).equals(bytes)).toBe(true);
  expect(await mode(join(t.remote, 'opt/app.tar'))).toBe('640');
  expect(Math.floor((await stat(join(t.remote, 'opt/app.tar'))).mtimeMs / 1_000)).toBe(
    Math.floor((await stat(file)).mtimeMs / 1_000),
  );
  expect(up.report?.totals).toMatchObject({ created: 1, changed: 0, failed: 0, bytes: bytes.length });
  expect(up.report?.rows).toMatchObject([
    { operation: 'upload', localPath: file, status: 'completed', fileSize: bytes.length },
  ]);
  expect(up.stdout).toMatch(/^Uploaded 5\.0 MB in \d+\.\d s: 1 created, 0 changed, 0 unchanged\.\n$/);
  const down = await t.run('download', {
    remote_path: join(t.remote, 'opt/app.tar'),
    local_path: `${t.local}/back/`,
    create_directories: true,
  });
  expect(down.outcome).toMatchObject({ status: 'succeeded' });
  expect((await readFile(join(t.local, 'back/app.tar'))).equals(bytes)).toBe(true);
  expect(await readdir(join(t.local, 'back'))).toEqual(['app.tar']);
});

const oddNames = [
  'a\nnew line "and" \u{1F600}',
  'tab\tand \\ backslash',
  '-rf',
  ' spaces around ',
  "it's; $(touch x) `y` *?[a]",
  '\u00e9 composed',
  'e\u0301 decomposed',
  'Case',
  'case',
  '\u202egnp.exe',
  '...',
  'x'.repeat(255),
];

/** 2,000 entries: directories to a depth of five, files of all sizes and modes, links, odd names. */
async function putTree(t: SftpSetup, top: string): Promise<void> {
  const directories = [top];
  let seed = 1;
  const random = (below: number) => {
    seed = (seed * 48_271) % 2_147_483_647;
    return seed % below;
  };
  const sizes = [0, 1, 100, 4_096, 40_000];
  for (let n = 0; n < 2_000; n += 1) {
    const parent = directories[random(directories.length)] ?? top;
    const name = `${oddNames[n] ?? `entry ${n}`}`;
    const path = `${parent}/${name}`;
    const kind = random(10);
    if (kind === 0 && path.split('/').length < 7) {
      directories.push(path);
      await mkdir(join(t.local, path), { recursive: true });
    } else if (kind === 1) {
      await mkdir(join(t.local, parent), { recursive: true });
      await symlink(random(2) === 0 ? 'nowhere' : 'entry 1', join(t.local, path));
    } else {
      const file = await t.put('local', path, Buffer.alloc(sizes[random(sizes.length)] ?? 0, name));
      await chmod(file, 0o400 + random(0o400));
      await utimes(file, 1_500_000_000 + n, 1_500_000_000 + n);
    }
  }
  await t.put('local', `${top}/large`, Buffer.alloc(9_000_000, 'large'));
  // Their owner can still fill and read them.
  for (const path of directories.slice(1))
    await chmod(join(t.local, path), 0o500 + 0o200 * random(2) + random(0o100));
}

sshTest('a pattern at the end of the source chooses what goes into a directory', async () => {
  const t = await setupTransfers();
  for (const name of ['app-1.tar', 'app-2.tar', 'notes', 'app-old/part', '[x]-1', 'sub/app-3.tar'])
    await t.put('local', name, Buffer.from(name));
  const names = async (at: string) => (await treeOf(at)).map((line) => line.split(' ')[0]);
  const upload = (pattern: string, more: object = {}) =>
    t.run('upload', { local_path: join(t.local, pattern), remote_path: join(t.remote, 'in'), ...more });
  expect((await upload('app-?.tar')).outcome).toMatchObject({ status: 'succeeded' });
  expect(await names(join(t.remote, 'in'))).toEqual(['app-1.tar', 'app-2.tar']);
  // Directories with all that is in them, less what other patterns leave out; brackets are literal.
  const some = await upload('app-*', { exclude: ['*-2.tar'] });
  expect(some.report?.totals).toMatchObject({ created: 1, changed: 1, failed: 0 });
  await upload('[x]-*');
  const there = ['[x]-1', 'app-1.tar', 'app-2.tar', 'app-old/', 'app-old/part'];
  expect(await names(join(t.remote, 'in'))).toEqual(there);
  expect((await upload('*.zip')).outcome).toMatchObject({
    status: 'failed',
    reason: 'path_missing',
    message: `Nothing matches ${join(t.local, '*.zip')}.`,
  });
  expect((await upload('gone/*.zip')).outcome).toMatchObject({ status: 'failed', reason: 'path_missing' });
  // What has this very name is meant.
  await t.put('local', 'app-*', Buffer.from('itself'));
  const itself = await upload('app-*', { remote_path: join(t.remote, 'itself') });
  expect(itself.outcome).toMatchObject({ status: 'succeeded' });
  expect(await readFile(join(t.remote, 'itself'), 'utf8')).toBe('itself');

  const down = await t.run('download', {
    remote_path: join(t.remote, 'in/*.tar'),
    local_path: join(t.local, 'back'),
    symlinks: 'fail',
  });
  expect(down.outcome).toMatchObject({ status: 'succeeded' });
  expect(await names(join(t.local, 'back'))).toEqual(['app-1.tar', 'app-2.tar']);
});

sshTest('a tree of 2,000 entries goes up and comes back unchanged', async () => {
  const t = await setupTransfers();
  await putTree(t, 'site');
  const keep = { preserve_permissions: true, preserve_times: true };
  const up = await t.run('upload', {
    local_path: join(t.local, 'site'),
    remote_path: join(t.remote, 'site'),
    ...keep,
  });
  expect(up.outcome).toMatchObject({ status: 'succeeded' });
  const before = await treeOf(join(t.local, 'site'));
  expect(before).toHaveLength(2_001);
  expect(await treeOf(join(t.remote, 'site'))).toEqual(before);
  const down = await t.run('download', {
    local_path: join(t.local, 'back'),
    remote_path: join(t.remote, 'site'),
    ...keep,
  });
  expect(down.outcome).toMatchObject({ status: 'succeeded' });
  expect(await treeOf(join(t.local, 'back'))).toEqual(before);
  expect(down.report?.totals).toEqual(up.report?.totals);
});

sshTest.each(['upload', 'download'] as const)(
  'when an %s follows links, a circular link fails alone, and other links are copied as what they lead to',
  async (type) => {
    const t = await setupTransfers();
    const side = type === 'upload' ? ('local' as const) : ('remote' as const);
    await t.put(side, 'set/a/f', 'x');
    await t.put(side, 'other/g', 'y');
    const at = (path: string) => join(t[side], path);
    for (const name of ['again', 'once more']) await symlink('..', at(`set/a/${name}`));
    await symlink('../../other', at('set/a/elsewhere'));
    await symlink('a', at('set/beside'));
    const { outcome, report } = await t.run(type, {
      local_path: join(t.local, 'set'),
      remote_path: join(t.remote, 'set'),
      symlinks: 'follow',
    });
    expect(outcome).toMatchObject({
      status: 'failed',
      reason: 'path_refused',
      message: expect.stringContaining('would never end'),
    });
    // The circle is also found through `beside`.
    expect(report?.totals).toMatchObject({ created: 4, failed: 4 });
    const copied = side === 'local' ? t.remote : t.local;
    expect((await readdir(join(copied, 'set'), { recursive: true })).sort()).toEqual([
      'a',
      'a/elsewhere',
      'a/elsewhere/g',
      'a/f',
      'beside',
      'beside/elsewhere',
      'beside/elsewhere/g',
      'beside/f',
    ]);
  },
);

const asRoot = process.getuid?.() === 0;
sshTest('owners are kept if the user may set them, and reported if not', async ({ skip }) => {
  if (!asRoot) skip('only root gives files to others');
  const t = await setupTransfers();
  for (const side of ['remote', 'local'] as const) {
    await t.put(side, 'set/d/f', 'x');
    for (const path of ['set/d', 'set/d/f']) await chown(join(t[side], path), 12_345, 23_456);
  }
  const config = { local_path: join(t.local, 'back'), remote_path: join(t.remote, 'set') };
  const down = await t.run('download', { ...config, preserve_owner: true });
  expect(down.outcome).toMatchObject({ status: 'succeeded' });
  for (const path of ['back/d', 'back/d/f'])
    expect(await stat(join(t.local, path))).toMatchObject({ uid: 12_345, gid: 23_456 });
  const up = await t.run('upload', {
    local_path: join(t.local, 'set'),
    remote_path: join(t.remote, 'up'),
    preserve_owner: true,
  });
  expect(up.outcome).toMatchObject({ status: 'failed', reason: 'permission_denied' });
  expect(await readdir(join(t.remote, 'up'), { recursive: true })).toEqual(['d']);
});

sshTest('a directory that could not be made is not counted as made', async () => {
  const t = await setupTransfers();
  await t.put('local', 'set/f', 'text');
  const closed = join(t.remote, 'closed');
  await mkdir(closed, { mode: 0o555 });
  const paths = { local_path: join(t.local, 'set'), remote_path: join(closed, 'set') };
  const { outcome, report, stdout } = await t.run('upload', paths);
  expect(outcome).toMatchObject({ status: 'failed', reason: 'permission_denied' });
  expect(report?.totals).toMatchObject({ directories: 0, failed: 1 });
  await chmod(closed, 0o777);
  const again = await t.run('upload', paths);
  expect(again.report?.totals).toMatchObject({ directories: 1, failed: 0 });
  expect([stdout, again.stdout].join('')).toMatch(/unchanged, 1 failed\.\n.*unchanged, 1 directory\.\n/);
});

sshTest('nothing outside the roots is read or written through dots or links', async () => {
  const t = await setupTransfers();
  await t.put('remote', 'secret', 'not for you');
  await symlink(t.remote, join(t.local, 'way-out'));
  await symlink(join(t.remote, 'secret'), join(t.local, 'secret-link'));
  const upload = (path: string) => t.run('upload', { local_path: path, remote_path: join(t.remote, 'copy') });
  for (const path of [
    join(t.remote, 'secret'),
    `${t.local}/../remote/secret`,
    `${t.local}/way-out/secret`,
    `${t.local}/secret-link`,
    `${t.local}-other/x`,
    '/etc/passwd',
  ]) {
    expect([path, (await upload(path)).outcome]).toMatchObject([
      path,
      { status: 'failed', reason: 'path_refused' },
    ]);
  }
  for (const path of [`${t.local}/way-out/new`, join(t.remote, 'new'), '/etc/new']) {
    const { outcome } = await t.run('download', { remote_path: join(t.remote, 'secret'), local_path: path });
    expect([path, outcome]).toMatchObject([path, { status: 'failed', reason: 'path_refused' }]);
  }
  expect(await readdir(t.remote)).toEqual(['secret']);
});

sshTest('an agent without a policy reads no file, and says where to allow it', async () => {
  const t = await setupTransfers({}, () => ({ fileRoots: [] }));
  const file = await t.put('local', 'a', 'a');
  const { outcome } = await t.run('upload', { local_path: file, remote_path: join(t.remote, 'a') });
  expect(outcome).toMatchObject({ reason: 'path_refused', advice: expect.stringContaining('file_roots') });
});

sshTest('a root for reading is not written to', async () => {
  const t = await setupTransfers({}, (path) => ({ fileRoots: [{ path, mayWrite: false }] }));
  const file = await t.put('local', 'a', 'a');
  const up = await t.run('upload', { local_path: file, remote_path: join(t.remote, 'a') });
  expect(up.outcome).toMatchObject({ status: 'succeeded' });
  const down = await t.run('download', { local_path: join(t.local, 'b'), remote_path: join(t.remote, 'a') });
  expect(down.outcome).toMatchObject({ status: 'failed', reason: 'path_refused' });
});

sshTest('a root for reading inside one for writing is not written to, not even through a link', async () => {
  const t = await setupTransfers(
    {},
    (path) => ({
      fileRoots: [
        { path, mayWrite: true },
        { path: join(path, 'kept'), mayWrite: false },
      ],
    }),
    ({ local }) => {
      mkdirSync(join(local, 'kept/d'), { recursive: true });
      symlinkSync('kept', join(local, 'by-link'));
      symlinkSync('kept/d', join(local, 'by-deep-link'));
    },
  );
  await t.put('remote', 'top/kept/f', 'x');
  await t.put('remote', 'top/g', 'x');
  const download = (remote: string, local_path: string) =>
    t.run('download', { remote_path: join(t.remote, remote), local_path });
  for (const link of ['by-link', 'by-deep-link']) {
    const { outcome } = await download('top/kept', `${t.local}/${link}/`);
    expect([link, outcome]).toMatchObject([link, { status: 'failed', reason: 'path_refused' }]);
  }
  const tree = await download('top', t.local);
  expect(tree.outcome).toMatchObject({ status: 'failed', reason: 'path_refused' });
  expect(tree.report?.totals).toMatchObject({ created: 1, failed: 1 });
  expect(await readdir(join(t.local, 'kept'), { recursive: true })).toEqual(['d']);
});

sshTest(
  'a file copied through a link gets the name that was asked for, not that of the link’s target',
  async () => {
    const t = await setupTransfers();
    await t.put('remote', '.bashrc', 'evil');
    await symlink('.bashrc', join(t.remote, 'report'));
    const { outcome } = await t.run('download', {
      remote_path: join(t.remote, 'report'),
      local_path: `${t.local}/`,
    });
    expect(outcome).toMatchObject({ status: 'succeeded' });
    expect(await readdir(t.local)).toEqual(['report']);
  },
);

sshTest('one bad file does not keep the others from being copied', async () => {
  const t = await setupTransfers();
  for (const name of ['a', 'b', 'c']) await t.put('local', `set/${name}`, name);
  await t.put('remote', 'set/b/in the way', 'x');
  await chmod(join(t.remote, 'set'), 0o777);
  const { outcome, report, stderr } = await t.run('upload', {
    local_path: join(t.local, 'set'),
    remote_path: join(t.remote, 'set'),
  });
  expect(outcome).toMatchObject({ status: 'failed', reason: 'transfer_failed' });
  expect(outcome.message).toMatch(/^1 of 3 could not be uploaded; the first, b: /);
  expect(report?.totals).toMatchObject({ created: 2, failed: 1 });
  expect(report?.rows[0]).toMatchObject({
    status: 'failed',
    error: expect.stringContaining('is a directory'),
  });
  expect(stderr).toMatch(/^b: .*is a directory/);
  expect(await readFile(join(t.remote, 'set/c'), 'utf8')).toBe('c');
});

sshTest('existing files are replaced, kept or refused as the step says', async () => {
  const t = await setupTransfers();
  const file = await t.put('local', 'f', 'new');
  const remote = await t.put('remote', 'f', 'old');
  await chmod(remote, 0o666);
  const upload = async (overwrite?: string) =>
    (await t.run('upload', { local_path: file, remote_path: remote, ...(overwrite && { overwrite }) }))
      .outcome;
  await utimes(remote, 2_000_000_000, 2_000_000_000);
  expect(await upload('never')).toMatchObject({ status: 'succeeded' });
  expect(await upload('newer')).toMatchObject({ status: 'succeeded' });
  expect(await upload('fail')).toMatchObject({ status: 'failed', reason: 'file_exists' });
  expect(await readFile(remote, 'utf8')).toBe('old');
  expect(await upload('different')).toMatchObject({ status: 'succeeded' });
  expect(await readFile(remote, 'utf8')).toBe('new');
  expect(await mode(remote)).toBe('666');
});

sshTest.each([
  ['a missing source', { remote_path: '/nowhere/x' }, 'path_missing'],
  ['a directory that is not there', { local_path: 'no/such/place' }, 'path_missing'],
  ['a file that may not be read', { remote_path: '/etc/shadow' }, 'permission_denied'],
])('%s has a reason of its own', async (_, paths, reason) => {
  const t = await setupTransfers();
  await t.put('remote', 'f', 'x');
  const { local_path = 'new', ...other } = paths as { local_path?: string };
  const config = { remote_path: join(t.remote, 'f'), ...other, local_path: join(t.local, local_path) };
  const { outcome } = await t.run('download', config);
  expect(outcome).toMatchObject({ status: 'failed', reason, advice: expect.stringMatching(/\w/) });
});
