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
