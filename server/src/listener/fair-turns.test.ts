import { setImmediate } from 'node:timers/promises';
import { expect, onTestFinished, test, vi } from 'vitest';
import { FairTurns } from './fair-turns.ts';

function setup(mostUnderWay = Number.POSITIVE_INFINITY, mostWaiting = 1_000) {
  const clock = { ms: 0 };
  /** So long it takes to begin one. */
  const slow = { ms: 0 };
  const limits = { mostUnderWay, mostWaiting, beginsInAMs: 1, beginsOfEachInAMs: 0.5 };
  const turns = new FairTurns(limits, () => clock.ms);
  const begun: string[] = [];
  return {
    clock,
    slow,
    begun,
    ask: (whose: string, what = whose) =>
      turns.take(whose, () => {
        begun.push(what);
        clock.ms += slow.ms;
      }),
    /** As many turns of the loop as all that waits could take. */
    async settled() {
      for (let n = 0; n < 100; n++) await setImmediate();
    },
  };
}

test('what comes alone is begun at once', () => {
  const t = setup();
  t.ask('ada');
  expect(t.begun).toEqual(['ada']);
});

test('of what comes at once some is begun in each turn of the loop, in its order', async () => {
  const t = setup();
  const asked = Array.from({ length: 50 }, (_, n) => String(n));
  for (const what of asked) t.ask('ada', what);
  let most = t.begun.length;
  while (t.begun.length < asked.length) {
    const before = t.begun.length;
    await setImmediate();
    most = Math.max(most, t.begun.length - before);
  }
  expect(most).toBeLessThanOrEqual(4);
  expect(t.begun).toEqual(asked);
});

test('who asks for much keeps nobody waiting who asks for little', async () => {
  const t = setup();
  for (let n = 0; n < 50; n++) t.ask('mallory');
  t.ask('ada');
  t.ask('grace');
  await t.settled();
  expect(t.begun.indexOf('ada')).toBeLessThan(6);
  expect(t.begun.indexOf('grace')).toBeLessThan(6);
  expect(t.begun).toHaveLength(52);
});

test('of one caller only so much is under way, and one that ends makes room for the next', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout'] });
  try {
    const t = setup(2);
    const ends = [1, 2, 3, 4, 5].map((n) => t.ask('ada', `ada ${n}`));
    t.ask('grace');
    await t.settled();
    expect(t.begun).toEqual(['ada 1', 'ada 2', 'grace']);
    ends[1]?.();
    ends[1]?.();
    await t.settled();
    expect(t.begun.slice(3)).toEqual(['ada 3']);
    // What takes long is in nobody's way.
    vi.advanceTimersByTime(1_000);
    await t.settled();
    expect(t.begun.slice(4)).toEqual(['ada 4', 'ada 5']);
  } finally {
    vi.useRealTimers();
  }
});

test('what nobody waits for any more is not begun', async () => {
  const t = setup();
  const [, , third] = [t.ask('ada', '1'), t.ask('ada', '2'), t.ask('ada', '3'), t.ask('ada', '4')];
  third?.();
  await t.settled();
  expect(t.begun).toEqual(['1', '2', '4']);
});

test('where turns take long more is begun in each, and as much of one caller, but no more than so much', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout'] });
  onTestFinished(() => void vi.useRealTimers());
  const t = setup(6);
  for (let n = 0; n < 100; n++) t.ask('ada');
  const inTurns: number[] = [];
  for (let n = 0; n < 5; n++) {
    const before = t.begun.length;
    // What else there is to be done.
    t.clock.ms += 100;
    await setImmediate();
    inTurns.push(t.begun.length - before);
    vi.advanceTimersByTime(100);
  }
  expect(inTurns).toEqual([16, 16, 16, 16, 16]);
});

test('what takes long to begin does not have more begun from turn to turn', async () => {
  const t = setup();
  t.slow.ms = 3;
  for (let n = 0; n < 100; n++) t.ask(n % 2 === 0 ? 'ada' : 'grace');
  let most = 0;
  while (t.begun.length < 100) {
    const before = t.begun.length;
    await setImmediate();
    most = Math.max(most, t.begun.length - before);
  }
  // Two turns of the loop at most, a few in each.
  expect(most).toBeLessThanOrEqual(8);
});

test('where too many of one caller wait no more is taken until one of them is begun or leaves, but of others', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout'] });
  onTestFinished(() => void vi.useRealTimers());
  const t = setup(1, 2);
  const end = t.ask('ada', '1');
  const leave = t.ask('ada', '2');
  expect(t.ask('ada', '3')).toBeDefined();
  expect(t.ask('ada', '4')).toBeUndefined();
  expect(t.ask('grace')).toBeDefined();
  leave?.();
  expect(t.ask('ada', '5')).toBeDefined();
  expect(t.ask('ada', '6')).toBeUndefined();
  end?.();
  await t.settled();
  expect(t.ask('ada', '7')).toBeDefined();
  expect(t.begun).toEqual(['1', 'grace', '3']);
});
