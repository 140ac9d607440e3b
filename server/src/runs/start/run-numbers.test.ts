import { expect, test } from 'vitest';
import { RunNumbers } from './run-numbers.ts';

test('a number that was put back is used once, and only if it is higher than those of all earlier runs', async () => {
  const numbers = new RunNumbers();
  let last = 6;
  const draw = async () => {
    const drawn = await numbers.draw(async (unused) => {
      if (unused === undefined) last += 1;
      return { runId: unused ?? last };
    });
    return drawn?.runId;
  };
  expect(await draw()).toBe(7);
  numbers.putBack(7);
  // No number is drawn for a job that doesn't exist.
  await numbers.draw(async () => undefined);
  expect(await draw()).toBe(7);
  expect(await draw()).toBe(8);
  numbers.putBack(7);
  expect(await draw()).toBe(9);
  numbers.putBack(9);
  expect(await draw()).toBe(9);
});
