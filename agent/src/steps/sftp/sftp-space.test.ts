import { execFileSync, spawnSync } from 'node:child_process';
import { readdir, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { LocalTree } from '../../sftp/local/local-tree.ts';
import { type SftpSetup, setupTransfers } from './sftp-setup.ts';

/** Mounts a small file system on a directory for the duration of the test. */
function makeSmall(directory: string, mib = 3): void {
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${mib}m,mode=777`, 'tmpfs', directory]);
  onTestFinished(() => {
    execFileSync('umount', ['-l', directory]);
  });
}

const mib = 1024 * 1024;
const mayMount = process.getuid?.() === 0 && spawnSync('unshare', ['--mount', 'true']).status === 0;
const mountTest = test.skipIf(!mayMount);

async function putSmallFiles(t: SftpSetup, side: 'local' | 'remote'): Promise<void> {
  for (let n = 0; n < 6; n += 1) await t.put(side, `set/${n}`, Buffer.alloc(900_000, n));
}

mountTest.each(['upload', 'download'] as const)(
  'a disk that becomes full during the %s is reported, and no file is left incomplete',
  async (type) => {
    const [source, destination] =
      type === 'upload' ? (['local', 'remote'] as const) : (['remote', 'local'] as const);
    const t = await setupTransfers({}, undefined, (places) => makeSmall(places[destination]));
    await putSmallFiles(t, source);
    const { outcome, report } = await t.run(type, {
      local_path: join(t.local, 'set'),
      remote_path: join(t.remote, 'set'),
      retries: 0,
    });
    expect(outcome).toMatchObject({ status: 'failed', reason: 'no_space' });
    const { created, failed } = report?.totals ?? { created: 0, failed: 0 };
    expect(created + failed).toBe(6);
    expect(created).toBeGreaterThan(0);
    const names = await readdir(join(t[destination], 'set'));
    expect(names).toHaveLength(created);
  },
);

mountTest('a file that does not fit is not started', async () => {
  const t = await setupTransfers({}, undefined, ({ remote }) => makeSmall(remote));
  const file = await t.put('local', 'large', Buffer.alloc(5_000_000));
  const { outcome } = await t.run('upload', { local_path: file, remote_path: join(t.remote, 'large') });
  expect(outcome).toMatchObject({
    status: 'failed',
    reason: 'no_space',
    message: expect.stringContaining('5000000'),
  });
  expect(await readdir(t.remote)).toEqual([]);
});

mountTest.each(['download', 'copy'] as const)(
  'a %s leaves the last twentieth of the agent’s disk free, however small its files are',
  async (type) => {
    const t = await setupTransfers({}, undefined, ({ local }) => makeSmall(local));
    await writeFile(join(t.local, 'other'), Buffer.alloc(3 * mib - 100_000));
    for (let n = 0; n < 3; n += 1) await t.put('remote', `set/${n}`, 'small');
    const { outcome, report } = await t.run(type, {
      ...(type === 'copy' ? { direction: 'pull' } : {}),
      local_path: join(t.local, 'set'),
      remote_path: join(t.remote, 'set'),
    });
    expect(outcome).toMatchObject({ status: 'failed', reason: 'no_space' });
    expect(report?.totals).toMatchObject({ created: 0 });
  },
);

mountTest(
  'a file that is written while others fill the agent’s disk ends before the disk is full',
  async () => {
    const t = await setupTransfers({}, undefined, ({ local }) => makeSmall(local, 32));
    const tree = new LocalTree({ fileRoots: [{ path: t.local, mayWrite: true }] });
    const { parent } = await tree.locate(join(t.local, 'file'), { write: true, create: false });
    const sink = await parent.openSink('file', { size: 64 * mib, mode: 0o600, resumeKey: undefined });
    const piece = Buffer.alloc(mib);
    const written = (async () => {
      for (let at = 0; at < 64; at += 1) await sink.write(piece, mib, at * mib);
    })();
    await expect(written).rejects.toMatchObject({ reason: 'no_space' });
    expect((await statfs(t.local)).bavail).toBeGreaterThan(0);
    await sink.discard(false);
    await parent.close();
  },
);
