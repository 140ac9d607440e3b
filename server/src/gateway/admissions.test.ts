import { expect, test } from 'vitest';
import { Admissions } from './admissions.ts';

/** So many come at once; `leave` ends the way of the one that has been on it the longest. */
function setup(agents: number) {
  const loop = { share: 0 as number | undefined };
  const admissions = new Admissions(() => loop.share);
  const inside: number[] = [];
  const order: number[] = [];
  for (let n = 0; n < agents; n += 1) {
    void admissions.enter().then(() => {
      inside.push(n);
      order.push(n);
    });
  }
  const leave = async (times = 1) => {
    for (let n = 0; n < times; n += 1) {
      inside.shift();
      admissions.leave();
      await Promise.resolve();
    }
  };
  return { loop, inside, order, leave, settled: () => Promise.resolve() };
}

test('a server that has time lets more and more agents in at a time, in the order in which they came', async () => {
  const t = setup(1_000);
  await t.settled();
  const atFirst = t.inside.length;
  await t.leave(3);
  expect(t.inside.length).toBeGreaterThan(atFirst * 2);
  await t.leave(100);
  expect(t.inside.length).toBeLessThan(200);
  expect(t.order).toEqual(t.order.map((_, n) => n));
});

test('a server that has no time left lets few agents in at a time, and never none', async () => {
  const t = setup(1_000);
  await t.settled();
  t.loop.share = 1;
  await t.leave(50);
  const few = t.inside.length;
  expect(few).toBeGreaterThan(0);
  expect(few).toBeLessThan(8);
  await t.leave(100);
  expect(t.inside.length).toBe(few);
});

test('between two looks at the event loop as many are let in as before', async () => {
  const t = setup(1_000);
  await t.settled();
  const atFirst = t.inside.length;
  t.loop.share = undefined;
  await t.leave(100);
  expect(t.inside.length).toBe(atFirst);
});

test('everybody has had a turn in the end', async () => {
  const t = setup(40);
  await t.settled();
  t.loop.share = 1;
  await t.leave(40);
  expect(t.order.length).toBe(40);
});
