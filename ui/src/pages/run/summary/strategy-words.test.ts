import { describe, expect, it } from 'vitest';
import {
  batchesOf,
  failureWords,
  lockWords,
  neverStarted,
  type ShownStrategy,
  strategyWords,
} from './strategy-words.ts';

const strategy = (fields: Partial<ShownStrategy> = {}): ShownStrategy => ({
  maxParallel: null,
  batches: [],
  maxFailures: 0,
  batchMaxFailures: null,
  order: 'selection',
  seed: null,
  onExceeded: 'stop',
  opened: 0,
  batch: null,
  haltedReason: null,
  ...fields,
});

describe('the batches of a run', () => {
  it('are as many as its targets need, the last size repeating and the last batch smaller', () => {
    const sizes = batchesOf(strategy({ batches: [1, 4, 10], batch: 1 }), 30, false).map(({ hosts }) => hosts);
    expect(sizes).toEqual([1, 4, 10, 10, 5]);
    expect(batchesOf(strategy(), 30, false)).toEqual([]);
  });

  it('are done, open and to come while the run is going on', () => {
    const states = batchesOf(strategy({ batches: [10], batch: 2 }), 30, false).map(({ state }) => state);
    expect(states).toEqual(['done', 'open', 'to come']);
  });

  it('are stopped if they never open, after a halt and after the end', () => {
    const halted = strategy({ batches: [10], batch: 1, haltedReason: 'Too many.' });
    expect(batchesOf(halted, 30, false).map(({ state }) => state)).toEqual(['open', 'stopped', 'stopped']);
    expect(batchesOf(halted, 30, true).map(({ state }) => state)).toEqual(['done', 'stopped', 'stopped']);
  });
});

describe('the hosts that a halt kept from starting', () => {
  const startedAt = '2026-11-24T02:14:07.000Z';
  const run = { targetsCancelled: 3, cancelRequestedAt: null };

  it('are all that were cancelled before they started, whether their batch was open or not', () => {
    const hosts = [
      { status: 'cancelled', startedAt: null },
      { status: 'cancelled', startedAt: null },
      { status: 'cancelled', startedAt },
      { status: 'failed', startedAt },
    ] as const;
    expect(neverStarted(run, hosts)).toBe(2);
  });

  it('are those that the server counts as cancelled until all are loaded, unless someone cancelled more', () => {
    expect(neverStarted(run, undefined)).toBe(3);
    expect(neverStarted({ ...run, cancelRequestedAt: startedAt }, undefined)).toBeUndefined();
  });
});

it('a strategy is put in words, with only the parts that it has', () => {
  const whole = strategy({
    batches: [2, 4],
    batch: 2,
    maxParallel: 8,
    batchMaxFailures: '10%',
    order: 'reverse',
  });
  expect(strategyWords(whole, batchesOf(whole, 10, false))).toBe(
    'batch 2 of 3 (4 hosts), at most 8 at a time, up to 10% failures per batch, in reverse order of name',
  );
  expect(strategyWords(strategy(), [])).toBe('');
});

it.each([
  [2, 1, '1 of 2 failures tolerated'],
  [2, 3, '3 failures, 2 tolerated'],
  [0, 0, 'no failure tolerated'],
  [0, 1, '1 failure, none tolerated'],
  [24, 5, undefined],
])('with %i failures allowed and %i so far it says %s', (maxFailures, failures, words) => {
  expect(failureWords({ maxFailures }, failures, 24)).toBe(words);
});

it('a lock says whom it keeps out, and where', () => {
  expect(lockWords({ name: 'lb', mode: 'exclusive' })).toBe('lb, exclusive');
  expect(lockWords({ name: 'lb', mode: 'exclusive', per: 'target' })).toBe('lb, exclusive on its host');
  expect(lockWords({ name: 'mirror', mode: 'shared', slots: 3, per: 'segment' })).toBe(
    'mirror, shared by up to 3 in its segment',
  );
});
