import {
  mkdtempSync,
  readdirSync,
  readlinkSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { syncPlan } from '../steps/sftp/sftp-plan.ts';
import { findDestination, findEnds } from './find-ends.ts';
import { LocalTree } from './local/local-tree.ts';

function setup() {
  const dir = realpathSync(mkdtempSync(join(tmpdir(), 'opsconductor-ends-')));
  onTestFinished(() => rmSync(dir, { recursive: true }));
  const tree = new LocalTree({ fileRoots: [{ path: dir, mayWrite: true }] });
  /** Returns this process's descriptors of the directory. */
  const held = () =>
    readdirSync('/proc/self/fd').filter((fd) => {
      try {
        return readlinkSync(`/proc/self/fd/${fd}`) === dir;
      } catch {
        return false;
      }
    });
  return { dir, tree, held };
}

const plan = syncPlan({ local_path: '/', remote_path: '/' });

test('a destination whose name can not be looked up leaves no directory open', async () => {
  const t = setup();
  const finding = findDestination(t.tree, `${t.dir}/`, 'x'.repeat(300), plan);
  await expect(finding).rejects.toMatchObject({ reason: 'transfer_failed' });
  expect(t.held()).toEqual([]);
});

test('a link to a file in place of a directory to compare leaves no directory open', async () => {
  const t = setup();
  writeFileSync(join(t.dir, 'f'), '');
  symlinkSync('f', join(t.dir, 'link'));
  const finding = findEnds(
    { ...plan, localPath: join(t.dir, 'link'), remotePath: join(t.dir, 'to') },
    { local: t.tree, remote: t.tree },
  );
  await expect(finding).rejects.toMatchObject({ reason: 'path_missing' });
  expect(t.held()).toEqual([]);
});
