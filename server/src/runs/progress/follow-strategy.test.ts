import { resolveStrategy, type Strategy } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { orderTargets } from '../start/order-targets.ts';
import { followStrategy, opensWith } from './follow-strategy.ts';

const total = 100;

function runWith(strategy: Strategy, counts: Partial<Parameters<typeof followStrategy>[0]> = {}) {
  return {
    status: 'running' as const,
    strategy: resolveStrategy(strategy, total, 1),
    targetsTotal: total,
    targetsOpened: 10,
    targetsSucceeded: 0,
    targetsFailed: 0,
    targetsCancelled: 0,
    targetsTimedOut: 0,
    targetsUnknown: 0,
    batchNumber: null,
    batchEnd: null,
    batchFailures: null,
    haltedAt: null,
    ...counts,
  };
}

test('percentages are of the run’s targets: batches are rounded up, failure limits down', () => {
  const strategy = { batches: [1, '10%', '50%'], max_failures: '10%', batch_max_failures: '34%' };
  expect(resolveStrategy(strategy, 15, 7)).toEqual({
    maxParallel: null,
    batches: [1, 2, 8],
    maxFailures: 1,
    batchMaxFailures: '34%',
    order: 'selection',
    seed: null,
    onExceeded: 'stop',
  });
});

test('a strategy without limits allows no failure; with only a limit for batches, only that counts', () => {
  expect(resolveStrategy({}, total, 1).maxFailures).toBe(0);
  expect(resolveStrategy({ batch_max_failures: 1 }, total, 1).maxFailures).toBe(total);
});

test('a run begins with its first batch, but no more than may be open at a time', () => {
  expect(opensWith(resolveStrategy({ batches: [5, 10] }, total, 1), total)).toBe(5);
  expect(opensWith(resolveStrategy({ batches: [50], max_parallel: 7 }, total, 1), total)).toBe(7);
  expect(opensWith(resolveStrategy({ batches: [50] }, 3, 1), 3)).toBe(3);
});

test('with max_parallel, as many targets are opened as have ended', () => {
  const run = runWith({ max_parallel: 10, max_failures: 5 }, { targetsSucceeded: 3, targetsFailed: 1 });
  expect(followStrategy(run)).toMatchObject({ open: 4, halt: null });
});

test('the next batch opens when the last target run of the one before has ended', () => {
  const batch = { batchNumber: 1, batchEnd: 10, batchFailures: 0 };
  const strategy = { batches: [10, 30], max_failures: 2 };
  expect(followStrategy(runWith(strategy, { ...batch, targetsSucceeded: 9 }))).toMatchObject({ open: 0 });
  const ended = followStrategy(runWith(strategy, { ...batch, targetsSucceeded: 9, targetsUnknown: 1 }));
  expect(ended).toEqual({ open: 30, halt: null, batchNumber: 2, batchEnd: 40, batchFailures: 1 });
  const second = { ...batch, batchNumber: 2, batchEnd: 40, targetsOpened: 40 };
  expect(followStrategy(runWith(strategy, { ...second, targetsSucceeded: 40 }))).toMatchObject({
    open: 30,
    batchNumber: 3,
    batchEnd: 70,
  });
});

test('more failures than the run or its batch allows halt it, and the reason says which limit', () => {
  const whole = followStrategy(
    runWith({ max_failures: 2 }, { targetsFailed: 1, targetsTimedOut: 1, targetsUnknown: 1 }),
  );
  expect(whole?.halt?.reason).toBe('Stopped when 3 hosts had failed or become unknown: max_failures is 2.');
  const batch = { batchNumber: 2, batchEnd: 20, batchFailures: 3 };
  const strategy = { batches: [10], batch_max_failures: '10%' };
  expect(followStrategy(runWith(strategy, { ...batch, targetsFailed: 4 }))?.halt).toBeNull();
  expect(followStrategy(runWith(strategy, { ...batch, targetsFailed: 5 }))?.halt?.unbegun).toBe(
    'Not begun: more hosts failed or became unknown in batch 2 than batch_max_failures allows (1).',
  );
});

test('a percentage of failures in the last batch is of the targets that are left for it', () => {
  const strategy = { batches: [90, 50], max_parallel: 5, batch_max_failures: '20%' };
  const last = { batchNumber: 2, batchEnd: 100, batchFailures: 0, targetsOpened: 95 };
  expect(followStrategy(runWith(strategy, { ...last, targetsFailed: 2 }))?.halt).toBeNull();
  expect(followStrategy(runWith(strategy, { ...last, targetsFailed: 3 }))?.halt?.reason).toMatch(
    'in batch 2: batch_max_failures is 2',
  );
});

test('with on_exceeded continue, the run goes on whatever fails', () => {
  const run = runWith({ max_parallel: 10, on_exceeded: 'continue' }, { targetsFailed: 10 });
  expect(followStrategy(run)).toMatchObject({ open: 10, halt: null });
});

test('a halted, cancelling or ended run, and one without a strategy, opens nothing', () => {
  const strategy = { max_parallel: 1 };
  expect(followStrategy(runWith(strategy, { haltedAt: new Date() }))).toBeUndefined();
  expect(followStrategy(runWith(strategy, { status: 'cancelling' }))).toBeUndefined();
  expect(followStrategy(runWith(strategy, { status: 'failed' }))).toBeUndefined();
  expect(followStrategy(runWith(strategy, { strategy: null }))).toBeUndefined();
});

test('targets are ordered as asked: by name, from the end, or by a seed', () => {
  const targets = ['b', 'c', 'a', 'd', 'e', 'f'].map((name, index) => ({ id: index + 1, name }));
  const names = (order: Parameters<typeof orderTargets>[1], seed = 1) =>
    orderTargets(targets, order, seed)
      .map(({ name }) => name)
      .join('');
  expect(names('selection')).toBe('bcadef');
  expect(names('reverse')).toBe('fedacb');
  expect(names('name')).toBe('abcdef');
  expect(names('random', 1)).toBe(names('random', 1));
  expect(new Set([1, 2, 3, 4].map((seed) => names('random', seed))).size).toBeGreaterThan(1);
  expect([...names('random', 9)].sort().join('')).toBe('abcdef');
});
