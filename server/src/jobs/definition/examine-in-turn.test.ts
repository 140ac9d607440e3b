import { expect, test } from 'vitest';
import { examineInTurn } from './examine-in-turn.ts';

test('definitions are checked one at a time, users in turn, and other work is done in between', async () => {
  const order: string[] = [];
  const note = (what: string) => {
    if (order.at(-1) !== what) order.push(what);
  };
  const check = (userId: number, name: string) =>
    examineInTurn(userId, {
      get name() {
        note(name);
        return name;
      },
      steps: [],
    });
  const checks = [check(1, 'a1'), check(1, 'a2'), check(1, 'a3'), check(2, 'b1')];
  let isOver = false;
  const doOther = () => {
    note('other');
    if (!isOver) setImmediate(doOther);
  };
  setImmediate(doOther);
  const results = await Promise.all(checks);
  isOver = true;
  expect(order.filter((what) => what !== 'other')).toEqual(['a1', 'a2', 'b1', 'a3']);
  for (const name of ['a2', 'b1', 'a3']) expect(order[order.indexOf(name) - 1]).toBe('other');
  expect(results.map(({ problems }) => problems.length > 0)).toEqual([true, true, true, true]);
});

test('a check that fails lets the next one begin', async () => {
  const broken = {
    get name() {
      throw new Error('broken');
    },
  };
  await expect(examineInTurn(1, broken)).rejects.toThrow('broken');
  expect((await examineInTurn(1, { name: 'job', steps: [] })).problems).not.toEqual([]);
});
