import { readdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { temporaryDirectory } from '../testing/enrolled-directory.ts';
import { AttemptOutput } from './attempt-output.ts';
import { Spool } from './spool.ts';

const { synced } = vi.hoisted(() => ({
  /** Files, in the order in which they were synced, with those that were there then. */
  synced: [] as { name: string; beside: string[] }[],
}));
vi.mock('node:fs', async (importOriginal) => {
  const fs = await importOriginal<typeof import('node:fs')>();
  const fdatasync = ((fd, callback) =>
    fs.fdatasync(fd, (error) => {
      const path = fs.readlinkSync(`/proc/self/fd/${fd}`);
      synced.push({ name: basename(path), beside: fs.readdirSync(join(path, '..')).sort() });
      callback(error);
    })) as typeof fs.fdatasync;
  return { ...fs, fdatasync };
});

async function setup(partBytes?: number) {
  synced.length = 0;
  const { path, remove } = await temporaryDirectory();
  const spool = Spool.create(join(path, '1-1'), { ...(partBytes === undefined ? {} : { partBytes }) });
  const stored: (() => void)[] = [];
  const output = new AttemptOutput({
    step: 1,
    epoch: 1,
    spool,
    onStored: () => stored.shift()?.(),
    onStorageFailure: () => undefined,
    monotonicMs: () => 0,
  });
  return {
    path,
    output,
    nextStored: () => new Promise<void>((resolve) => stored.push(resolve)),
    async [Symbol.asyncDispose]() {
      await output.remove();
      await remove();
    },
  };
}

test('all output of an attempt is on disk before its end is reported', async () => {
  await using t = await setup();
  t.output.write('stdout', Buffer.from('hello'));
  await t.output.close();
  expect(synced).toEqual([{ name: '1-1', beside: ['1-1'] }]);
});

test('what continues a file is on disk before that file goes, as a machine may lose its power just then', async () => {
  await using t = await setup(1);
  for (const text of ['one', 'two']) {
    const stored = t.nextStored();
    t.output.write('stdout', Buffer.from(text));
    await stored;
  }
  t.output.acknowledge(2);
  expect(await t.output.release()).toBeGreaterThan(0);
  expect(synced).toEqual([{ name: '1-1.2', beside: ['1-1', '1-1.2'] }]);
  expect(await readdir(t.path)).toEqual(['1-1.2']);
});
