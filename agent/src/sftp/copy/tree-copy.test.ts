// Problems with the names and sizes in a tree, with two local directories as sides.
import { mkdir, mkdtemp, readdir, readFile, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { copyPlan } from '../../steps/sftp/sftp-plan.ts';
import { LocalTree } from '../local/local-tree.ts';
import { TransferReport } from '../report/transfer-report.ts';
import type { Directory, Entry } from '../tree/tree.ts';
import { ChunkBuffers } from './chunk-buffers.ts';
import { TreeCopy } from './tree-copy.ts';

async function setup() {
  const dir = await realpath(await mkdtemp(join(tmpdir(), 'opsconductor-names-')));
  onTestFinished(() => rm(dir, { recursive: true }));
  for (const name of ['from', 'to']) await mkdir(join(dir, name));
  const tree = new LocalTree({ fileRoots: [{ path: dir, mayWrite: true }] });
  const at = async (name: string) => {
    const { parent } = await tree.locate(join(dir, name, 'x'), { write: true, create: false });
    onTestFinished(() => parent.close());
    return parent;
  };
  const progress: string[] = [];
  return {
    dir,
    /** The progress that was reported, for all copies. */
    progress,
    put: (name: string) => writeFile(join(dir, 'from', name), name),
    async copy(plan: object, seen = asItIs, listed = asItIs) {
      const report = new TransferReport();
      const conduct = {
        ...{
          buffers: new ChunkBuffers({ partOf: ({ most }) => most }),
          rateLimit: undefined,
          signal: new AbortController().signal,
        },
        ...{
          verify: 'size' as const,
          resume: false,
          retries: 0,
          ends: '',
          looksAt: () => {},
          moved: () => {},
          found: () => {},
          unfinished: new Map(),
        },
      };
      const paths = { local_path: '/from', remote_path: '/to' };
      const copy = new TreeCopy({
        plan: { ...copyPlan('pull', { ...paths, overwrite: 'different' }), ...plan },
        conduct,
        report,
        progress: {
          found: (bytes) => progress.push(`found ${bytes}`),
          counted: () => progress.push('counted'),
          began: () => progress.push('began'),
          ended: () => progress.push('ended'),
        },
      });
      const ends = {
        from: listed(await at('from')),
        entry: undefined,
        to: seen(await at('to')),
        toName: undefined,
      };
      await copy.copy({ ...ends, there: undefined });
      return report;
    },
  };
}

function asItIs(directory: Directory): Directory {
  return directory;
}

/** Acts like a hostile server that lists sizes too small. */
function understating(directory: Directory): Directory {
  return new Proxy(directory, {
    get(target, key) {
      if (key === 'list') return async () => (await target.list()).map((entry) => ({ ...entry, size: 0 }));
      const value = Reflect.get(target, key) as unknown;
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

/** Acts like a side that ignores case, but does not say so. */
function caseless(directory: Directory): Directory {
  return new Proxy(directory, {
    get(target, key) {
      const value = Reflect.get(target, key) as unknown;
      if (typeof value !== 'function') return value;
      return (name: unknown, ...others: unknown[]) =>
        Reflect.apply(value, target, [typeof name === 'string' ? name.toLowerCase() : name, ...others]);
    },
  });
}

/** Acts like a hostile server that lists these as well. */
function listing(more: Partial<Entry>[], calls: string[] = [], ready: () => unknown = () => undefined) {
  return (directory: Directory): Directory =>
    new Proxy(directory, {
      get(target, key) {
        if (key === 'list')
          return async () => {
            const own = await target.list();
            calls.push(target.path);
            await ready();
            const some = { kind: 'other', size: 0, mode: 0, mtimeS: 0 } as const;
            return [...own, ...more.map((each) => ({ name: '', ...some, ...each }))];
          };
        if (key === 'enter')
          return async (name: string) => listing(more, calls, ready)(await target.enter(name));
        const value = Reflect.get(target, key) as unknown;
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
}

test('a name that is longer than a name can be fails, and is compared with nothing', async () => {
  const t = await setup();
  await t.put('a');
  const filtered: string[] = [];
  const filter = (path: string) => {
    filtered.push(path);
    return true;
  };
  const long = 'e\u0301'.repeat(1_000);
  const { totals, firstFailure } = await t.copy({ filter }, undefined, listing([{ name: long }]));
  expect(totals).toMatchObject({ created: 1, failed: 1 });
  expect(firstFailure?.error.message).toContain('longer than a name can be');
  expect(filtered).toEqual(['a']);
});

test('of two large directories one is held at a time', async () => {
  const t = await setup();
  for (const name of ['one', 'two']) await mkdir(join(t.dir, 'from', name));
  const calls: string[] = [];
  let beBoth = () => {};
  const areBoth = new Promise<void>((resolve) => {
    beBoth = resolve;
  });
  const ready = () => (calls.length < 2 ? areBoth : beBoth());
  const many = Array.from({ length: 10_001 }, (_, at) => ({ name: `f${at}` }));
  const within = (directory: Directory): Directory =>
    new Proxy(directory, {
      get(target, key) {
        const value = Reflect.get(target, key) as unknown;
        if (key === 'enter')
          return async (name: string) => listing(many, calls, ready)(await target.enter(name));
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
  const { totals } = await t.copy({}, undefined, within);
  expect(totals).toMatchObject({ directories: 2, failed: 20_002 });
  // One of them was listed again once the other was done.
  expect(calls.sort()).toHaveLength(3);
});

test('names that differ only in case are all copied if the destination distinguishes them', async () => {
  const t = await setup();
  for (const name of ['README', 'readme', 'ReadMe']) await t.put(name);
  expect((await t.copy({})).totals).toMatchObject({ created: 3, failed: 0 });
  expect((await t.copy({})).totals).toMatchObject({ created: 0, failed: 0 });
});

test('if the destination does not distinguish them, one is copied and the others fail', async () => {
  const t = await setup();
  for (const name of ['README', 'readme', 'other']) await t.put(name);
  const { totals, commonReason, firstFailure } = await t.copy({}, caseless);
  expect(totals).toMatchObject({ created: 2, failed: 1 });
  expect(commonReason).toBe('file_exists');
  expect(firstFailure?.error.message).toContain('are one name at the destination');
  expect((await readdir(join(t.dir, 'to'))).sort()).toEqual(['other', 'readme']);
});

test('an existing file with a name that the destination takes for the same is neither replaced nor duplicated', async () => {
  const t = await setup();
  await t.put('README');
  await writeFile(join(t.dir, 'to', 'readme'), 'theirs');
  const { totals } = await t.copy({ overwrite: 'never' }, caseless);
  expect(totals).toMatchObject({ created: 0, unchanged: 1, failed: 0 });
  expect(await readFile(join(t.dir, 'to', 'readme'), 'utf8')).toBe('theirs');
});

test('no more than the given number of bytes is copied', async () => {
  const t = await setup();
  for (const name of ['aaaa', 'bbbb', 'cccc']) await t.put(name);
  const { totals, commonReason } = await t.copy({ maxBytes: 8 });
  expect(totals).toMatchObject({ created: 2, failed: 1 });
  expect(commonReason).toBe('no_space');
});

test('no more than the given number of files is copied, however small they are', async () => {
  const t = await setup();
  for (const name of ['a', 'b', 'c', 'd']) await t.put(name);
  const { totals, firstFailure } = await t.copy({ maxFiles: 3 });
  expect(totals).toMatchObject({ created: 3, failed: 1 });
  expect(firstFailure?.error).toMatchObject({ reason: 'no_space', message: 'There are more than 3 files.' });
  expect(await readdir(join(t.dir, 'to'))).toHaveLength(3);
});

test('a file that is listed too small counts with its real size once it is open', async () => {
  const t = await setup();
  for (const name of ['aaaa', 'bbbb', 'cccc']) await t.put(name);
  const { totals, commonReason } = await t.copy({ maxBytes: 8 }, undefined, understating);
  expect(totals).toMatchObject({ created: 2, failed: 1 });
  expect(commonReason).toBe('no_space');
});

test('the total of a tree is known once it is listed, while most files have yet to be moved', async () => {
  const t = await setup();
  await mkdir(join(t.dir, 'from/below'));
  for (let n = 100; n < 200; n += 1) await t.put(`${n % 2 === 0 ? 'below/' : ''}${n}`);
  await t.copy({});
  const all = (what: string) => t.progress.filter((one) => one === what).length;
  expect([all('began'), all('counted'), all('found 3') + all('found 9')]).toEqual([100, 1, 100]);
  const before = t.progress.slice(0, t.progress.indexOf('counted'));
  expect(before.filter((one) => one.startsWith('found'))).toHaveLength(100);
  expect(before.filter((one) => one === 'ended').length).toBeLessThan(100);
  t.progress.length = 0;
  await t.copy({ overwrite: 'never' });
  expect(t.progress).toEqual(['counted']);
});
