import { expect, onTestFinished, test, vi } from 'vitest';
import { SpacedMessages } from './spaced-messages.ts';

test('of many messages the first is handled at once, and then the newest each time, until it is closed', async () => {
  vi.useFakeTimers();
  onTestFinished(() => void vi.useRealTimers());
  const handled: number[] = [];
  const handle = async (message: number) => void handled.push(message);
  const spaced = new SpacedMessages<number>({ everyMs: 10_000, handle });
  for (const message of [1, 2, 3]) await spaced.take(message);
  expect(handled).toEqual([1]);
  await vi.advanceTimersByTimeAsync(10_000);
  expect(handled).toEqual([1, 3]);
  await spaced.take(4);
  expect(handled).toEqual([1, 3]);
  await vi.advanceTimersByTimeAsync(20_000);
  expect(handled).toEqual([1, 3, 4]);
  await spaced.take(5);
  await spaced.take(6);
  spaced.close();
  await vi.advanceTimersByTimeAsync(60_000);
  expect(handled).toEqual([1, 3, 4, 5]);
  expect(vi.getTimerCount()).toBe(0);
});
