import { expect, test } from 'vitest';
import { Admissions } from './admissions.ts';

/** Lets this many come at once; `leave` lets the one leave that has been inside longest. */
async function setup(agents: number) {
  const loop = { share: 0, look: [] as (() => void)[] };
  const admissions = new Admissions({
    lookAtLoop: () => loop.share,
    lookLater: (look) => loop.look.push(look),
  });
  const inside: string[] = [];
  const order: string[] = [];
  const come = (group: string, name: string) =>
    void admissions.enter(group).then(() => {
      inside.push(name);
      order.push(name);
    });
  for (let n = 0; n < agents; n += 1) come('group', String(n));
  const settled = () => new Promise((resolve) => setImmediate(resolve));
  const leave = async (times = 1) => {
    for (let n = 0; n < times; n += 1) {
      inside.shift();
      admissions.leave();
      await settled();
    }
  };
  const look = async (share: number, times = 1) => {
    loop.share = share;
    for (let n = 0; n < times; n += 1) loop.look.shift()?.();
    await settled();
  };
  await settled();
  return { loop, inside, order, come, leave, look };
}

test('while the loop has time, more and more are let in although nobody has left', async () => {
  const t = await setup(1_000);
  const atFirst = t.inside.length;
  await t.look(0.1, 4);
  expect(t.inside.length).toBeGreaterThan(atFirst * 2);
  await t.look(0.1, 100);
  expect(t.inside.length).toBeLessThan(200);
  expect(t.order).toEqual(t.order.map((_, n) => String(n)));
});

test('when the loop has no time left, few are let in, but never none', async () => {
  const t = await setup(1_000);
  await t.look(1, 20);
  await t.leave(14);
  const few = t.inside.length;
  expect(few).toBeGreaterThan(0);
  expect(few).toBeLessThan(8);
  await t.leave(100);
  expect(t.inside.length).toBe(few);
});

test('if nobody waits, the loop is not measured, and everybody has had a turn in the end', async () => {
  const t = await setup(40);
  await t.look(1, 10);
  await t.leave(40);
  expect(t.order.length).toBe(40);
  await t.look(0, 10);
  expect(t.loop.look).toEqual([]);
});

test('groups take turns', async () => {
  const t = await setup(16);
  await t.look(1, 10);
  for (let n = 1; n <= 6; n += 1) t.come('a', `a${n}`);
  for (const name of ['b1', 'b2']) t.come('b', name);
  t.come('c', 'c1');
  await t.leave(25);
  expect(t.order.slice(16)).toEqual(['a1', 'b1', 'c1', 'a2', 'b2', 'a3', 'a4', 'a5', 'a6']);
});
