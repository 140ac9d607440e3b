import { expect, test } from 'vitest';
import { SmoothedRate } from './smoothed-rate.ts';

function rateAfter(points: [bytes: number, atMs: number][]): number | undefined {
  const rate = new SmoothedRate();
  for (const [bytes, atMs] of points) rate.note(bytes, atMs);
  return rate.bytesPerSecond;
}

test('a steady rate is that rate, however the bytes are cut', () => {
  const steps = (everyMs: number) =>
    Array.from({ length: 60_000 / everyMs }, (_, at): [number, number] => [at * everyMs * 2, at * everyMs]);
  for (const everyMs of [20, 130, 1_000, 7_000]) expect(rateAfter(steps(everyMs))).toBeCloseTo(2_000);
});

test('one slow stretch moves the figure a little, a long one all the way, and nothing that moves ends at zero', () => {
  const steady = Array.from({ length: 30 }, (_, at): [number, number] => [at * 1_000, at * 1_000]);
  const slow = rateAfter([...steady, [29_100, 30_000]]) ?? 0;
  expect(slow).toBeGreaterThan(800);
  expect(slow).toBeLessThan(900);
  const still = Array.from({ length: 40 }, (_, at): [number, number] => [29_000, 30_000 + at * 1_000]);
  expect(rateAfter([...steady, ...still])).toBeLessThan(2);
});

test('nothing is said before half a second has been seen', () => {
  expect(rateAfter([[0, 0]])).toBeUndefined();
  expect(
    rateAfter([
      [0, 0],
      [100_000, 499],
    ]),
  ).toBeUndefined();
  expect(
    rateAfter([
      [0, 0],
      [100_000, 500],
    ]),
  ).toBe(200_000);
});
