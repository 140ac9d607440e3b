// A dry run says what the real run then does.
import { spawnSync } from 'node:child_process';
import { chmod, mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'vitest';
import { sshTest } from '../../ssh/sshd-setup.ts';
import { setupTransfers } from './sftp-setup.ts';

type Direction = 'push' | 'pull';
const kinds = ['none', 'file', 'directory', 'pipe', 'link-to-file', 'link-to-directory', 'link-to-nothing'];
const leadsTo: Record<string, string> = {
  'link-to-file': 'f',
  'link-to-directory': 'd',
  'link-to-nothing': 'x',
};
const every = kinds.flatMap((source) => kinds.map((destination) => ({ source, destination })));
const nameOf = ({ source, destination }: (typeof every)[number]) => `${source}-over-${destination}`;

/** Puts an entry of each kind at the source over an entry of each kind at the destination. */
async function fill(directory: string, side: 'source' | 'destination') {
  await mkdir(join(directory, 'd'), { recursive: true });
  await writeFile(join(directory, 'd/inside'), 'i');
  await writeFile(join(directory, 'f'), 'f');
  for (const both of every) {
    const [kind, path] = [both[side], join(directory, nameOf(both))];
    if (kind === 'file') await writeFile(path, directory);
    else if (kind === 'pipe') spawnSync('mkfifo', [path]);
    else if (kind === 'directory') {
      await mkdir(path);
      await writeFile(join(path, 'inside'), directory);
    } else if (kind !== 'none') await symlink(leadsTo[kind] ?? '', path);
  }
}

async function setup(direction: Direction) {
  const t = await setupTransfers();
  const [local, remote] = [join(t.local, 'site'), join(t.remote, 'site')];
  const [source, destination] = direction === 'push' ? [local, remote] : [remote, local];
  await fill(source, 'source');
  await fill(destination, 'destination');
  for (const directory of [t.local, t.remote]) spawnSync('chmod', ['-R', 'a+rwX', directory]);
  if (process.getuid?.() === 0) spawnSync('chown', ['-hR', '20001:20001', remote]);
  /** What a run, or a dry run, tells of itself. */
  const told = async (config: object) => {
    const { outcome, report } = await t.run('sync', {
      ...{ local_path: local, remote_path: remote, direction },
      ...config,
    });
    const { totals, rows = [] } = report ?? {};
    // Its message names what failed first, of many at a time.
    const { status, reason } = outcome;
    const lines = rows.map(({ operation, localPath, remotePath, status, error }) =>
      [operation, localPath, remotePath, status === 'failed' ? error : 'done'].join(' '),
    );
    return { status, reason, totals: { ...totals, bytes: 0 }, lines: lines.sort() };
  };
  const both = async (config: object) => ({
    dry: await told({ ...config, dry_run: true }),
    real: await told(config),
  });
  return { ...t, local, remote, source, destination, both };
}

const directions: readonly Direction[] = ['push', 'pull'];
for (const direction of directions) {
  for (const symlinks of ['copy', 'follow', 'skip', 'fail']) {
    for (const more of [{ mode: 'update' }, { mode: 'mirror', delete: true }]) {
      sshTest(
        `of all kinds of entries over all kinds: ${direction}, ${more.mode}, symlinks ${symlinks}`,
        async () => {
          const t = await setup(direction);
          const { dry, real } = await t.both({ ...more, symlinks });
          expect(dry).toEqual(real);
          expect(real.totals).toMatchObject({ created: expect.any(Number), failed: expect.any(Number) });
        },
      );
    }
  }

  sshTest(`of directories to compare that are something else: ${direction}`, async () => {
    const t = await setup(direction);
    for (const name of every.map(nameOf)) {
      for (const end of ['', '/']) {
        const paths = { local_path: join(t.local, name + end), remote_path: join(t.remote, name + end) };
        const { dry, real } = await t.both(paths);
        expect({ name, ...dry }).toEqual({ name, ...real });
      }
    }
  });

  sshTest(
    `of missing directories above the destination, which it makes if it may: ${direction}`,
    async () => {
      const t = await setup(direction);
      const [from, to] = direction === 'push' ? ['local_path', 'remote_path'] : ['remote_path', 'local_path'];
      for (const above of ['new/er', 'none-over-file', 'none-over-link-to-nothing']) {
        for (const create_directories of [false, true]) {
          const paths = { [from]: join(t.source, 'd'), [to]: join(t.destination, above, 'place') };
          const { dry, real } = await t.both({ ...paths, create_directories });
          // What is in the way is named from where each looks at it.
          const [dryly, really] = [dry, real].map(({ status, totals }) => ({ above, status, totals }));
          expect(dryly).toEqual(really);
          const isMade = create_directories && above === 'new/er';
          expect({ above, status: dry.status }).toEqual({ above, status: isMade ? 'succeeded' : 'failed' });
        }
      }
    },
  );
}

sshTest('of files and directories of the source that can’t be read', async () => {
  const t = await setup('pull');
  const closed = join(t.remote, 'closed');
  await mkdir(closed);
  await writeFile(join(t.remote, 'secret'), 's');
  await chmod(closed, 0);
  await chmod(join(t.remote, 'secret'), 0);
  const { dry, real } = await t.both({ include: ['/closed', '/secret'], exclude: ['*'] });
  expect(dry).toEqual(real);
  expect(dry).toMatchObject({ reason: 'permission_denied', totals: { failed: 2, created: 0 } });
});

sshTest('of a place that the policy of the agent lets steps only read', async () => {
  const t = await setup('pull');
  const u = await setupTransfers({}, () => ({ fileRoots: [{ path: t.local, mayWrite: false }] }));
  for (const dry_run of [true, false]) {
    const config = { local_path: t.local, remote_path: u.remote, direction: 'pull', dry_run };
    expect((await u.run('sync', config)).outcome).toMatchObject({ reason: 'path_refused' });
  }
});
