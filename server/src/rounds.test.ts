import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Rounds } from './rounds.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

function setup() {
  const begun: (() => void)[] = [];
  const rounds = new Rounds({ work: () => new Promise((resolve) => begun.push(resolve)), pauseMs: 50 });
  const end = async () => {
    begun.at(-1)?.();
    await vi.advanceTimersByTimeAsync(0);
  };
  return { rounds, begun, end };
}

test('the next round begins a pause after the last one, however long that took', async () => {
  const { rounds, begun, end } = setup();
  rounds.start();
  await vi.advanceTimersByTimeAsync(1_000);
  expect(begun).toHaveLength(1);
  await end();
  await vi.advanceTimersByTimeAsync(49);
  expect(begun).toHaveLength(1);
  await vi.advanceTimersByTimeAsync(1);
  expect(begun).toHaveLength(2);
});

test('the first round can wait for the pause, too', async () => {
  const { rounds, begun } = setup();
  rounds.startLater();
  expect(begun).toHaveLength(0);
  await vi.advanceTimersByTimeAsync(50);
  expect(begun).toHaveLength(1);
});

test('a stop waits for the round that runs, and none begins after it', async () => {
  const { rounds, begun, end } = setup();
  rounds.start();
  let isStopped = false;
  const stopped = rounds.stop().then(() => {
    isStopped = true;
  });
  await vi.advanceTimersByTimeAsync(1_000);
  expect([isStopped, rounds.isStopped]).toEqual([false, true]);
  await end();
  await stopped;
  rounds.start();
  rounds.startLater();
  await vi.advanceTimersByTimeAsync(1_000);
  expect(begun).toHaveLength(1);
});

test('a stop during a pause leaves no timer behind', async () => {
  const { rounds, begun } = setup();
  rounds.startLater();
  await rounds.stop();
  expect([vi.getTimerCount(), begun.length]).toEqual([0, 0]);
});
