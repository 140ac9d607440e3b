import { mkdirSync, mkdtempSync, readdirSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { syncPlan } from '../../../steps/sftp/sftp-plan.ts';
import { LocalTree } from '../../local/local-tree.ts';
import { TransferReport } from '../../report/transfer-report.ts';
import { TransferError } from '../../tree/transfer-error.ts';
import type { Directory } from '../../tree/tree.ts';
import type { Conduct } from '../copy-file.ts';
import { Listings } from '../listings.ts';
import { mirrorDeletions } from './mirror-deletions.ts';

/** Sets up two local directories; the destination has a directory with a file that the source doesn't have. */
async function setup(retries: number) {
  const dir = realpathSync(mkdtempSync(join(tmpdir(), 'opsconductor-mirror-')));
  onTestFinished(() => rmSync(dir, { recursive: true }));
  mkdirSync(join(dir, 'from'));
  mkdirSync(join(dir, 'to/gone'), { recursive: true });
  writeFileSync(join(dir, 'to/gone/f'), '');
  const tree = new LocalTree({ fileRoots: [{ path: dir, mayWrite: true }] });
  const at = async (name: string) => {
    const { parent } = await tree.locate(join(dir, name, 'x'), { write: true, create: false });
    onTestFinished(() => parent.close());
    return parent;
  };
  const plan = syncPlan({ local_path: '/', remote_path: '/', mode: 'mirror', delete: true });
  const conduct = { retries, signal: new AbortController().signal } as Conduct;
  return {
    dir,
    async mirror(seen: (directory: Directory) => Directory) {
      const report = new TransferReport();
      const [from, to] = [await at('from'), seen(await at('to'))];
      const ends = { from, entry: undefined, to, toName: undefined, there: undefined };
      const deletions = await mirrorDeletions(ends, plan, conduct, new Listings());
      await deletions.carryOut(report);
      return report;
    },
  };
}

type Deletion = 'removeFile' | 'removeDirectory';

/** Acts like a connection that is lost at the first deletion of each kind, after or before the deletion is done. */
function cutting(directory: Directory, isDone: boolean, cut = new Set<unknown>()): Directory {
  return new Proxy(directory, {
    get(target, key) {
      const value = Reflect.get(target, key) as unknown;
      if (key === 'enter') return async (name: string) => cutting(await target.enter(name), isDone, cut);
      if (typeof value !== 'function') return value;
      if ((key !== 'removeFile' && key !== 'removeDirectory') || cut.has(key)) return value.bind(target);
      return async (name: string) => {
        cut.add(key);
        if (isDone) await target[key satisfies Deletion](name);
        throw lost();
      };
    },
  });
}

function lost(): TransferError {
  return new TransferError({ reason: 'transfer_cut', message: 'Lost.', advice: 'Look.', retryable: true });
}

test.each([
  ['was done before its answer was lost', true],
  ['was lost', false],
])('a deletion that %s is done in the end, and counts once', async (_, isDone) => {
  const t = await setup(1);
  const report = await t.mirror((to) => cutting(to, isDone));
  expect(report.totals).toMatchObject({ deleted: 2, failed: 0 });
  expect(readdirSync(join(t.dir, 'to'))).toEqual([]);
});
