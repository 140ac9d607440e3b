import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Rush } from './rush.ts';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

function setup() {
  const rush = new Rush({ windowMs: 100, most: 2 });
  const done: string[] = [];
  return {
    rush,
    done,
    afterwards: (name: string, of: object = {}) => rush.afterwards(of, () => done.push(name)),
  };
}

function arrive(rush: Rush, count: number): void {
  for (let n = 0; n < count; n += 1) rush.arrive();
}

test('work is done at once if few arrive, and after the rush if many do', () => {
  const { rush, done, afterwards } = setup();
  arrive(rush, 2);
  afterwards('alone');
  expect([rush.isOn, done]).toEqual([false, ['alone']]);
  arrive(rush, 1);
  afterwards('among many');
  vi.advanceTimersByTime(60);
  arrive(rush, 3);
  vi.advanceTimersByTime(99);
  expect([rush.isOn, done]).toEqual([true, ['alone']]);
  vi.advanceTimersByTime(2);
  expect([rush.isOn, done]).toEqual([false, ['alone', 'among many']]);
});

test('waiting work is started a few pieces per turn, and not during the next rush', () => {
  const { rush, done, afterwards } = setup();
  arrive(rush, 3);
  for (let n = 1; n <= 9; n += 1) afterwards(`${n}`);
  vi.advanceTimersToNextTimer();
  expect(done).toEqual(['1', '2', '3', '4']);
  arrive(rush, 3);
  vi.advanceTimersByTime(99);
  expect(done).toHaveLength(4);
  vi.advanceTimersByTime(20);
  expect(done).toEqual(['1', '2', '3', '4', '5', '6', '7', '8', '9']);
});

test('for one object only the last work is done; cancelled work is not', () => {
  const { rush, done, afterwards } = setup();
  const [one, other] = [{}, {}];
  arrive(rush, 3);
  afterwards('first', one);
  afterwards('second', one);
  afterwards('of another', other);
  rush.leave(other);
  vi.advanceTimersByTime(1_000);
  expect(done).toEqual(['second']);
  arrive(rush, 3);
  afterwards('third', one);
  rush.leaveAll();
  vi.advanceTimersByTime(1_000);
  expect(done).toEqual(['second']);
});
