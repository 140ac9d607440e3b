import { expect, onTestFinished, test, vi } from 'vitest';
import { UserTurns } from './user-turns.ts';

function setup() {
  vi.useFakeTimers({ toFake: ['setTimeout'] });
  onTestFinished(() => void vi.useRealTimers());
  const clock = { ms: 0 };
  const reads = new UserTurns({ now: () => clock.ms });
  const began: string[] = [];
  const ends: (() => void)[] = [];
  const ask = (whose: string) => {
    void reads.take(whose).then((end) => {
      began.push(whose);
      ends.push(end);
    });
  };
  const settled = () => new Promise((resolve) => setImmediate(resolve));
  /** Ends the read that began first, after this time. */
  const end = async (tookMs = 0) => {
    clock.ms += tookMs;
    ends.shift()?.();
    await settled();
  };
  return { began, ask, settled, end };
}

test('three read at a time, users in turn', async () => {
  const t = setup();
  for (let n = 0; n < 4; n += 1) t.ask('ada');
  t.ask('grace');
  await t.settled();
  expect(t.began).toEqual(['ada', 'ada', 'ada']);
  await t.end();
  await t.end();
  expect(t.began.slice(3).sort()).toEqual(['ada', 'grace']);
});

test('of a user with many waiting reads, one reads at a time with a pause after each, in which others read', async () => {
  const t = setup();
  for (let n = 0; n < 20; n += 1) t.ask('mallory');
  await t.settled();
  while (t.began.length < 5) {
    await t.end(10);
    vi.advanceTimersByTime(50);
    await t.settled();
  }
  const before = t.began.length;
  // All that began together while few waited are over.
  await t.end(10);
  await t.end(10);
  expect(t.began.length - before).toBeLessThanOrEqual(1);
  t.ask('ada');
  await t.settled();
  expect(t.began.at(-1)).toBe('ada');
});

test('a pause is as long as five reads, up to a limit', async () => {
  const t = setup();
  for (let n = 0; n < 30; n += 1) t.ask('mallory');
  await t.settled();
  // Three, because few were waiting when they came.
  for (let n = 0; n < 3; n += 1) await t.end(10);
  const begun = t.began.length;
  vi.advanceTimersByTime(49);
  await t.settled();
  expect(t.began).toHaveLength(begun);
  vi.advanceTimersByTime(1);
  await t.settled();
  expect(t.began).toHaveLength(begun + 1);
  await t.end(60_000);
  vi.advanceTimersByTime(250);
  await t.settled();
  expect(t.began).toHaveLength(begun + 2);
});

test('everything is read in the end', async () => {
  const t = setup();
  for (let n = 0; n < 30; n += 1) t.ask(n % 10 === 0 ? 'ada' : 'mallory');
  for (let n = 0; n < 60; n += 1) {
    await t.end(1);
    vi.advanceTimersByTime(100);
    await t.settled();
  }
  expect(t.began).toHaveLength(30);
});
