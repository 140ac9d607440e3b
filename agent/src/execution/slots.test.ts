import { expect, test } from 'vitest';
import { Slots } from './slots.ts';

function setup() {
  const begun: string[] = [];
  const ends = new Map<string, () => void>();
  const slots = new Slots<string>({
    slots: 2,
    work: (item) => {
      begun.push(item);
      return new Promise((resolve) => ends.set(item, resolve));
    },
  });
  const end = async (item: string) => {
    ends.get(item)?.();
    await new Promise(setImmediate);
  };
  return { slots, begun, end };
}

test('as many are at work as there are slots, and the oldest that waits is next', async () => {
  const { slots, begun, end } = setup();
  for (const item of ['a', 'b', 'c', 'd']) slots.enter(item);
  expect(begun).toEqual(['a', 'b']);
  await end('b');
  expect(begun).toEqual(['a', 'b', 'c']);
  expect(['a', 'b', 'c', 'd'].map((item) => slots.isWorking(item))).toEqual([true, false, true, false]);
});

test('what goes on by itself begins beyond the slots, and counts until it ends', async () => {
  const { slots, begun, end } = setup();
  for (const item of ['a', 'b']) slots.enter(item);
  slots.enterAtOnce('c');
  slots.enter('d');
  expect(begun).toEqual(['a', 'b', 'c']);
  await end('a');
  expect(begun).toEqual(['a', 'b', 'c']);
  await end('c');
  expect(begun).toEqual(['a', 'b', 'c', 'd']);
});

test('what is withdrawn while it waits never begins; what is at work can not be withdrawn', async () => {
  const { slots, begun, end } = setup();
  for (const item of ['a', 'b', 'c', 'd', 'e']) slots.enter(item);
  expect([slots.withdraw('a'), slots.withdraw('c')]).toEqual([false, true]);
  expect(slots.withdrawAll()).toEqual(['d', 'e']);
  await end('a');
  expect(begun).toEqual(['a', 'b']);
});

test('once it was stopped, nothing that waits begins', async () => {
  const { slots, begun, end } = setup();
  for (const item of ['a', 'b', 'c']) slots.enter(item);
  slots.stop();
  await end('a');
  expect(begun).toEqual(['a', 'b']);
});
