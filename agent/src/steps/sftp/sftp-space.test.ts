import { execFileSync, spawnSync } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { type SftpSetup, setupTransfers } from './sftp-setup.ts';

/** Mounts a file system of 3 MiB on a directory for the duration of the test. */
function makeSmall(directory: string): void {
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=3m,mode=777', 'tmpfs', directory]);
  onTestFinished(() => {
    execFileSync('umount', ['-l', directory]);
  });
}

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
