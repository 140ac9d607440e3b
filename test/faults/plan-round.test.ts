import { expect, test } from 'vitest';
import { faultKinds, planRound } from './plan-round.ts';

test('a round is the same each time, and another one for another number or seed', () => {
  expect(planRound(1, 2)).toEqual(planRound(1, 2));
  expect(planRound(1, 2)).not.toEqual(planRound(1, 3));
  expect(planRound(1, 2)).not.toEqual(planRound(2, 2));
});

test('every round has 50 steps and three faults, and over a hundred of them each kind comes', () => {
  const plans = Array.from({ length: 100 }, (_, at) => planRound(7, at));
  for (const { runs, faults } of plans) {
    expect(runs.reduce((sum, { targets, steps }) => sum + targets * steps.length, 0)).toBeGreaterThanOrEqual(
      50,
    );
    expect(faults.length).toBeGreaterThanOrEqual(3);
  }
  const kinds = new Set(plans.flatMap(({ faults }) => faults.map(({ kind }) => kind)));
  expect([...kinds].sort()).toEqual([...faultKinds].sort());
});

test('only the kinds that were asked for are planned', () => {
  const { faults } = planRound(1, 1, { only: ['network-cut'] });
  expect(new Set(faults.map(({ kind }) => kind))).toEqual(new Set(['network-cut']));
});
