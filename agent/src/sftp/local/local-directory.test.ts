import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { LocalTree } from './local-tree.ts';

async function setup(more: { path: string; mayWrite: boolean }[] = []) {
  const dir = mkdtempSync(join(tmpdir(), 'opsconductor-local-'));
  onTestFinished(() => rmSync(dir, { recursive: true }));
  const tree = new LocalTree({ fileRoots: [{ path: dir, mayWrite: true }, ...more] });
  onTestFinished(() => tree.close());
  const { parent } = await tree.locate(dir, { write: true, create: false });
  return { dir, parent };
}

test('a link in one root is followed though another root is gone', async () => {
  const { dir, parent } = await setup([{ path: '/nowhere/unmounted', mayWrite: false }]);
  onTestFinished(() => parent.close());
  writeFileSync(join(dir, 'f'), '');
  symlinkSync('f', join(dir, 'link'));
  const followed = await parent.follow('link', { write: false });
  expect(followed?.entry).toMatchObject({ name: 'f', kind: 'file' });
  await followed?.directory.close();
});

test('what a disk says against one file is told of that file', async () => {
  const { dir, parent } = await setup();
  writeFileSync(join(dir, 'f'), '');
  const source = await parent.openSource('f');
  const sink = await parent.openSink('g', { size: 1, mode: 0o600 });
  // In place of a disk that fails: descriptors that are no more.
  await Promise.all([source.close(), sink.discard(false), parent.close()]);
  await expect(source.hasChanged()).rejects.toMatchObject({
    reason: 'transfer_failed',
    message: expect.stringContaining(`${dir}/f on the agent could not be read: `),
  });
  await expect(sink.hash(1)).rejects.toMatchObject({
    reason: 'transfer_failed',
    message: expect.stringContaining(`${dir}/g on the agent could not be read back: `),
  });
  expect(await parent.freeBytes()).toBeUndefined();
});

test('of small files that are read together, one that has no room is left, and those behind it are read', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'opsconductor-local-'));
  onTestFinished(() => rmSync(dir, { recursive: true }));
  const tree = new LocalTree({ fileRoots: [{ path: dir, mayWrite: false }] });
  onTestFinished(() => tree.close());
  const { parent } = await tree.locate(dir, { write: false, create: false });
  onTestFinished(() => parent.close());
  // The second has grown since it was listed.
  for (const [name, text] of Object.entries({ a: 'one', b: 'grown', c: 'two' }))
    writeFileSync(join(dir, name), text);
  const memory = new SharedArrayBuffer(12);
  const read = await parent.readWhole?.(['a', 'b', 'c'], new Uint8Array(memory, 2, 7));
  expect(read?.map((file) => file?.bytes.toString())).toEqual(['one', undefined, 'two']);
  expect(Buffer.from(memory).toString()).toBe('\0\0onetwo\0\0\0\0');
});
