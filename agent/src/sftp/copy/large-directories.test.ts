import { expect, test } from 'vitest';
import type { Entry } from '../tree/tree.ts';
import { type BothSides, LargeDirectories } from './large-directories.ts';

const entry: Entry = { name: 'f', kind: 'file', size: 0, mode: 0o644, mtimeS: 0 };
const bounds = { large: 10, most: 50 };

function setup() {
  const looked: string[] = [];
  const look =
    (path: string, source: number, destination = 0) =>
    async (): Promise<BothSides> => {
      looked.push(path);
      return [Array(source).fill(entry), Array(destination).fill(entry)];
    };
  return { looked, look, top: new LargeDirectories(bounds) };
}

test('of large directories beside one another one is held at a time, and small ones do not wait', async () => {
  const { looked, look, top } = setup();
  const first = await top.list('/a', look('/a', 20));
  const second = top.list('/b', look('/b', 5, 15));
  const small = await top.list('/c', look('/c', 10));
  expect(small.both[0]).toHaveLength(10);
  expect(looked).toEqual(['/a', '/b', '/c']);
  first.release();
  // It was not held while it waited.
  expect((await second).both[1]).toHaveLength(15);
  expect(looked).toEqual(['/a', '/b', '/c', '/b']);
});

test('large directories inside one another are refused once they hold too many entries together', async () => {
  const { look, top } = setup();
  const { inside } = await top.list('/a', look('/a', 30));
  await expect(inside.list('/a/b', look('/a/b', 30))).rejects.toMatchObject({
    reason: 'transfer_failed',
    message:
      '/a/b and the directories that contain it have more than 50 files: more than are compared at a time.',
  });
  // The refused one does not keep the next one waiting.
  const { both } = await inside.list('/a/c', look('/a/c', 20));
  expect(both[0]).toHaveLength(20);
});

test('a large directory that can not be listed again does not keep the next one waiting', async () => {
  const { look, top } = setup();
  const first = await top.list('/a', look('/a', 20));
  let times = 0;
  const second = top.list('/b', async () => {
    times += 1;
    if (times > 1) throw new Error('gone');
    return look('/b', 20)();
  });
  // Until the second waits.
  await new Promise(setImmediate);
  first.release();
  await expect(second).rejects.toThrow('gone');
  expect((await top.list('/c', look('/c', 20))).both[0]).toHaveLength(20);
});
