import { expect, test } from 'vitest';
import { Batches } from './batches.ts';

function setup(most: number) {
  const batches: number[][] = [];
  const gates: (() => void)[] = [];
  const all = new Batches<number, string>({
    most,
    atATime: 1,
    work: async (items) => {
      batches.push([...items]);
      await new Promise<void>((open) => gates.push(open));
      if (items.includes(13)) throw new Error('unlucky');
      return items.map((item) => `did ${item}`);
    },
  });
  const open = async () => {
    await expect.poll(() => gates.length).toBe(1);
    gates.pop()?.();
  };
  return { all, batches, open };
}

test('items that arrive while a batch is being worked on form the next one, in the order in which they came', async () => {
  const { all, batches, open } = setup(3);
  const first = all.do(1);
  await expect.poll(() => batches).toEqual([[1]]);
  const others = [2, 3, 4, 5].map((item) => all.do(item));
  await open();
  expect(await first).toBe('did 1');
  await open();
  await open();
  expect(await Promise.all(others)).toEqual(['did 2', 'did 3', 'did 4', 'did 5']);
  expect(batches).toEqual([[1], [2, 3, 4], [5]]);
});

test('an item that fails does not make the others of its batch fail', async () => {
  const { all, open } = setup(3);
  const results = Promise.allSettled([12, 13, 14].map((item) => all.do(item)));
  for (let n = 0; n < 4; n += 1) await open();
  expect((await results).map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
});

test('an item that may wait is begun with the next one that may not, or when its time is over', async () => {
  const { all, batches, open } = setup(9);
  const one = all.do(1, 60_000);
  const two = all.do(2, 60_000);
  const three = all.do(3);
  await open();
  expect(await Promise.all([one, two, three])).toEqual(['did 1', 'did 2', 'did 3']);
  expect(batches).toEqual([[1, 2, 3]]);
  const four = all.do(4, 5);
  await open();
  expect(await four).toBe('did 4');
});

test('an item that may wait is not begun by the end of a batch before its time is over', async () => {
  const { all, batches, open } = setup(9);
  const first = all.do(1);
  await expect.poll(() => batches).toEqual([[1]]);
  const waiting = all.do(2, 40);
  await open();
  await first;
  expect(batches).toEqual([[1]]);
  await open();
  expect(await waiting).toBe('did 2');
});
