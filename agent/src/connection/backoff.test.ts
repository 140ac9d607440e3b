import { closeCodes } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { Backoff } from './backoff.ts';

test('waits double up to half a minute', () => {
  const backoff = new Backoff(() => 1);
  const waits = Array.from({ length: 10 }, () => backoff.nextDelayMs(undefined));
  expect(waits).toEqual([200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000, 30_000]);
});

test('after a refusal the wait is minutes, and almost nothing if another key may be the right one', () => {
  const backoff = new Backoff(() => 1);
  const { unauthenticated } = closeCodes;
  expect(backoff.nextDelayMs(unauthenticated)).toBe(300_000);
  backoff.tryAnotherKey();
  expect([1, 2].map(() => backoff.nextDelayMs(unauthenticated))).toEqual([1_000, 300_000]);
});

test('waits stay short while no server answers', () => {
  const backoff = new Backoff(() => 1);
  const waits = Array.from({ length: 8 }, () => backoff.nextDelayMs(undefined, false));
  expect(waits).toEqual([200, 400, 800, 1_600, 3_200, 5_000, 5_000, 5_000]);
  const short = new Backoff(() => 0);
  for (let i = 0; i < 7; i += 1) short.nextDelayMs(undefined, false);
  expect(short.nextDelayMs(undefined, false)).toBe(2_500);
});

test('if the server that is gone has many agents, each tries at its own moment within the time that the server gave', () => {
  const waitsOf = (random: number) => {
    const backoff = new Backoff(() => random);
    backoff.spreadOver(20_000);
    return [undefined, false, false].map((answered) => backoff.nextDelayMs(undefined, answered));
  };
  // Once soon, since only the connection may be lost.
  expect(waitsOf(0)).toEqual([100, 0, 18_000]);
  expect(waitsOf(0.5)).toEqual([150, 10_000, 19_000]);
  expect(waitsOf(1)).toEqual([200, 20_000, 20_000]);
  const restarted = new Backoff(() => 1);
  restarted.spreadOver(20_000);
  expect(restarted.nextDelayMs(closeCodes.serverRestart)).toBe(20_000);
});

test('a few agents come back as soon as before, and none waits for longer than half a minute', () => {
  const few = new Backoff(() => 1);
  few.spreadOver(100);
  expect([few.nextDelayMs(undefined, false), few.nextDelayMs(closeCodes.serverRestart)]).toEqual([
    200, 1_000,
  ]);
  const many = new Backoff(() => 1);
  many.spreadOver(3_600_000);
  expect(many.nextDelayMs(undefined, false)).toBe(30_000);
});

test('an agent that was given a short time tries often for some seconds, then as rarely as usual', () => {
  const waitsOf = (toldMs: number) => {
    const backoff = new Backoff(() => 1);
    backoff.spreadOver(toldMs);
    return Array.from({ length: 41 }, () => backoff.nextDelayMs(undefined, false));
  };
  expect(waitsOf(30)).toEqual([200, ...Array(39).fill(250), 5_000]);
  expect(waitsOf(1_200)).toEqual([...Array(40).fill(1_200), 5_000]);
  // A server of the previous version may have given none.
  expect(waitsOf(0).slice(0, 6)).toEqual([200, 400, 800, 1_600, 3_200, 5_000]);
});

test('jitter reaches down to almost nothing, so that agents spread', () => {
  const backoff = new Backoff(() => 0);
  for (let i = 0; i < 10; i++) backoff.nextDelayMs(undefined);
  expect(backoff.nextDelayMs(undefined)).toBe(100);
});

test('a success starts over', () => {
  const backoff = new Backoff(() => 1);
  backoff.nextDelayMs(undefined);
  backoff.nextDelayMs(undefined);
  backoff.succeeded();
  expect(backoff.nextDelayMs(undefined)).toBe(200);
});

test('after a success the agents of a server that is gone again spread over the whole time, not its end', () => {
  const backoff = new Backoff(() => 0);
  backoff.spreadOver(20_000);
  const waits = () => [1, 2].map(() => backoff.nextDelayMs(undefined, false));
  expect(waits()).toEqual([0, 18_000]);
  backoff.succeeded();
  expect(waits()).toEqual([0, 18_000]);
});

test.each([
  [closeCodes.serverRestart, 0, 1_000],
  [closeCodes.unauthenticated, 120_000, 300_000],
  [closeCodes.noCommonVersion, 120_000, 300_000],
  [closeCodes.invalidMessage, 10_000, 30_000],
  [closeCodes.replaced, 10_000, 30_000],
])('after close code %i the wait is between %i and %i ms', (code, least, most) => {
  expect(new Backoff(() => 0).nextDelayMs(code)).toBe(least);
  expect(new Backoff(() => 1).nextDelayMs(code)).toBe(most);
});
