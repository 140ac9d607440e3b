import { chmod, chown, mkdir, readdir, readFile, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'vitest';
import { sshTest } from '../../ssh/sshd-setup.ts';
import { setupTransfers } from './sftp-setup.ts';

const names = async (directory: string) => (await readdir(directory, { recursive: true })).sort();

/** Sets up a destination that the target's user owns and that holds an earlier state of the source. */
async function setupSync() {
  const t = await setupTransfers();
  for (const [path, content] of Object.entries({
    same: 'same',
    changed: 'new',
    'sub/new': 'n',
    'cache/x': 'local',
  }))
    await t.put('local', `site/${path}`, content);
  const source = join(t.local, 'site');
  const destination = join(t.remote, 'site');
  await mkdir(destination);
  await chmod(destination, 0o777);
  // Only its owner may give it the source's times.
  if (process.getuid?.() === 0) await chown(destination, 20_001, 20_001);
  await utimes(join(source, 'same'), 1_600_000_000, 1_600_000_000);
  const sync = (config: object = {}) =>
    t.run('sync', {
      local_path: source,
      remote_path: destination,
      mode: 'mirror',
      exclude: ['/cache/'],
      ...config,
    });
  return { ...t, source, destination, sync };
}

sshTest(
  'a mirror copies what the source has, deletes what it doesn’t have, and skips what is excluded',
  async () => {
    const t = await setupSync();
    expect((await t.sync()).outcome).toMatchObject({ status: 'succeeded' });
    await t.put('remote', 'site/gone', 'x');
    await t.put('remote', 'site/gone too/deep', 'x');
    await t.put('remote', 'site/cache/theirs', 'x');
    for (const path of ['site/gone too', 'site/cache']) await chmod(join(t.remote, path), 0o777);
    await t.put('local', 'site/changed', 'newer!');
    const second = await t.sync({ delete: true });
    expect(second.outcome).toMatchObject({ status: 'succeeded' });
    expect(second.report?.totals).toMatchObject({
      created: 0,
      changed: 1,
      unchanged: 2,
      deleted: 3,
      failed: 0,
    });
    expect(await names(t.destination)).toEqual([
      'cache',
      'cache/theirs',
      'changed',
      'same',
      'sub',
      'sub/new',
    ]);
    expect(await readFile(join(t.destination, 'changed'), 'utf8')).toBe('newer!');
    expect((await stat(join(t.destination, 'same'))).mtimeMs).toBe(1_600_000_000_000);
    const third = await t.sync({ delete: true });
    expect(third.report?.totals).toMatchObject({ changed: 0, unchanged: 3, deleted: 0, bytes: 0 });
  },
);

sshTest('more deletions than allowed end the step before anything is changed', async () => {
  const t = await setupSync();
  for (const name of ['a', 'b', 'c']) await t.put('remote', `site/${name}`, 'x');
  const { outcome } = await t.sync({ delete: true, max_delete: 2 });
  expect(outcome).toMatchObject({ status: 'failed', reason: 'delete_limit' });
  expect(await names(t.destination)).toEqual(['a', 'b', 'c']);
});

sshTest(
  'a sync takes no pattern: what its name matches is not the whole, so that all else would be deleted',
  async () => {
    const t = await setupSync();
    await t.put('remote', 'site/theirs', 'x');
    const { outcome } = await t.sync({ local_path: join(t.source, '*') });
    expect(outcome).toMatchObject({ status: 'failed', reason: 'path_missing' });
    expect(await names(t.destination)).toEqual(['theirs']);
  },
);

sshTest('a dry run reports what it would do and does nothing', async () => {
  const t = await setupSync();
  await t.put('remote', 'site/gone', 'x');
  const { outcome, stdout, report } = await t.sync({ delete: true, dry_run: true });
  expect(outcome).toMatchObject({ status: 'succeeded' });
  for (const line of [
    'would upload .*/site/changed',
    'would upload .*/site/sub/new',
    'would delete .*/site/gone',
  ])
    expect(stdout).toMatch(new RegExp(`^${line}$`, 'm'));
  expect(stdout).toMatch(/^Dry run, nothing was changed: 3 created, .* 1 deleted/m);
  expect(report?.rows.every((row) => row.status === 'planned')).toBe(true);
  expect(await names(t.destination)).toEqual(['gone']);
});

sshTest('an update keeps files that are newer at the destination', async () => {
  const t = await setupSync();
  await t.put('remote', 'site/changed', 'their own');
  await utimes(join(t.destination, 'changed'), 2_000_000_000, 2_000_000_000);
  await t.put('remote', 'site/extra', 'x');
  const { report } = await t.sync({ mode: 'update' });
  expect(report?.totals).toMatchObject({ created: 2, unchanged: 1 });
  expect(await readFile(join(t.destination, 'changed'), 'utf8')).toBe('their own');
  expect(await names(t.destination)).toContain('extra');
});

sshTest('a comparison by checksum finds changes that size and time do not show', async () => {
  const t = await setupSync();
  await t.sync();
  await t.put('local', 'site/same', 'SAME');
  await utimes(join(t.source, 'same'), 1_600_000_000, 1_600_000_000);
  expect((await t.sync()).report?.totals).toMatchObject({ changed: 0 });
  expect((await t.sync({ compare: 'checksum' })).report?.totals).toMatchObject({ changed: 1, unchanged: 2 });
  expect(await readFile(join(t.destination, 'same'), 'utf8')).toBe('SAME');
});

sshTest('a pull finds nothing to do the second time, even for bits that the agent never sets', async () => {
  const t = await setupSync();
  await chmod(await t.put('remote', 'site/tool', 'x'), 0o4755);
  await mkdir(join(t.destination, 'shared'));
  await chmod(join(t.destination, 'shared'), 0o1777);
  await t.sync({ direction: 'pull' });
  expect((await stat(join(t.source, 'tool'))).mode & 0o7777).toBe(0o755);
  const { report } = await t.sync({ direction: 'pull' });
  expect(report?.totals).toMatchObject({ created: 0, changed: 0, failed: 0 });
});

sshTest('a pull makes the agent’s directory like the target’s', async () => {
  const t = await setupSync();
  await t.put('remote', 'site/a/b', 'from there');
  const { outcome } = await t.sync({ direction: 'pull', delete: true });
  expect(outcome).toMatchObject({ status: 'succeeded' });
  expect(await names(t.source)).toEqual(['a', 'a/b', 'cache', 'cache/x']);
});
