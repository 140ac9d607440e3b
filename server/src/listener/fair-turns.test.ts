import { setImmediate } from 'node:timers/promises';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { FairTurns, type TurnLimits } from './fair-turns.ts';

function setup(mostUnderWay = Number.POSITIVE_INFINITY, mostWaiting = 1_000, more: Partial<TurnLimits> = {}) {
  const clock = { ms: 0 };
  /** How long it takes to begin one. */
  const slow = { ms: 0 };
  const limits = { mostUnderWay, mostWaiting, beginsInAMs: 1, beginsOfEachInAMs: 0.5, ...more };
  const turns = new FairTurns(limits, () => clock.ms);
  const begun: string[] = [];
  return {
    turns,
    clock,
    slow,
    begun,
    ask: (whose: string, what = whose, by?: string) =>
      turns.take(
        whose,
        () => {
          begun.push(what);
          clock.ms += slow.ms;
        },
        by,
      ),
    /** As many turns of the loop as all waiting requests could need. */
    async settled() {
      for (let n = 0; n < 100; n++) await setImmediate();
    },
  };
}

test('a single request is begun at once', () => {
  const t = setup();
  t.ask('ada');
  expect(t.begun).toEqual(['ada']);
});

test('of many simultaneous requests, a few are begun in each turn of the loop, in order', async () => {
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

test('an asker of much does not delay askers of little', async () => {
  const t = setup();
  for (let n = 0; n < 50; n++) t.ask('mallory');
  t.ask('ada');
  t.ask('grace');
  await t.settled();
  expect(t.begun.indexOf('ada')).toBeLessThan(6);
  expect(t.begun.indexOf('grace')).toBeLessThan(6);
  expect(t.begun).toHaveLength(52);
});

test('requests from two sessions of one asker take turns', async () => {
  const t = setup(1);
  const ends = new Map<string, (() => void) | undefined>();
  for (let n = 0; n < 50; n++) ends.set(`script ${n}`, t.ask('ada', `script ${n}`, 'token'));
  for (const what of ['console 0', 'console 1']) ends.set(what, t.ask('ada', what, 'session'));
  while (t.begun.length < 52) {
    ends.get(t.begun.at(-1) ?? '')?.();
    await t.settled();
  }
  expect(t.begun.slice(0, 6)).toEqual([
    'script 0',
    'script 1',
    'console 0',
    'script 2',
    'console 1',
    'script 3',
  ]);
});

test('a session with few waiting requests still has room when a script has filled the limit', async () => {
  const t = setup(1, 10);
  for (let n = 0; n < 12; n++) t.ask('ada', `script ${n}`, 'token');
  expect(t.ask('ada', 'one more', 'token')).toBeUndefined();
  const asked = Array.from({ length: 6 }, (_, n) => t.ask('ada', `console ${n}`, 'session'));
  expect(asked.filter((end) => end !== undefined)).toHaveLength(5);
  asked[0]?.();
  expect(t.ask('ada', 'again', 'session')).toBeDefined();
});

test('however many sessions an asker has, at most twice the limit waits', () => {
  const t = setup(1, 100);
  const asked = Array.from({ length: 30 }, (_, way) =>
    Array.from({ length: 100 }, () => t.ask('ada', 'one', `token ${way}`)),
  );
  const waiting = asked.flat().filter((end) => end !== undefined).length;
  expect(waiting).toBeGreaterThan(150);
  expect(waiting).toBeLessThanOrEqual(201);
});

test('only a limited number of one caller’s requests is under way, and each that ends makes room for the next', async () => {
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
    // A request that takes long no longer counts.
    vi.advanceTimersByTime(1_000);
    await t.settled();
    expect(t.begun.slice(4)).toEqual(['ada 4', 'ada 5']);
  } finally {
    vi.useRealTimers();
  }
});

test('fewer requests of one asker are under way while somebody else asks, and as many as before once nobody else has for a second', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout'] });
  onTestFinished(() => void vi.useRealTimers());
  const t = setup(4, 1_000, { mostBesideOthers: 2 });
  const ends = Array.from({ length: 4 }, (_, n) => t.ask('ada', `ada ${n}`));
  await t.settled();
  expect(t.begun).toHaveLength(4);
  for (const end of ends) end?.();
  t.ask('grace')?.();
  for (let n = 4; n < 9; n++) t.ask('ada', `ada ${n}`);
  await t.settled();
  expect(t.begun.slice(4)).toEqual(['grace', 'ada 4', 'ada 5']);
  t.clock.ms += 1_001;
  t.ask('ada', 'ada 9');
  await t.settled();
  expect(t.begun.slice(7)).toEqual(['ada 6', 'ada 7']);
});

test('if turns take long, more requests of one asker are under way, even while somebody else asks', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout'] });
  onTestFinished(() => void vi.useRealTimers());
  const t = setup(4, 1_000, { mostBesideOthers: 2 });
  t.ask('grace');
  for (let n = 0; n < 20; n++) t.ask('ada');
  t.clock.ms += 20;
  await t.settled();
  const { length } = t.begun.filter((what) => what === 'ada');
  expect(length).toBeGreaterThan(4);
});

test('a request that nobody waits for any more is not begun', async () => {
  const t = setup();
  const [, , third] = [t.ask('ada', '1'), t.ask('ada', '2'), t.ask('ada', '3'), t.ask('ada', '4')];
  third?.();
  await t.settled();
  expect(t.begun).toEqual(['1', '2', '4']);
});

test('if turns take long, more requests are begun in each, even of one caller, up to a limit', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout'] });
  onTestFinished(() => void vi.useRealTimers());
  const t = setup(6);
  for (let n = 0; n < 100; n++) t.ask('ada');
  const inTurns: number[] = [];
  for (let n = 0; n < 5; n++) {
    const before = t.begun.length;
    // Time spent on other work.
    t.clock.ms += 100;
    await setImmediate();
    inTurns.push(t.begun.length - before);
    vi.advanceTimersByTime(100);
  }
  expect(inTurns).toEqual([16, 16, 16, 16, 16]);
});

test('requests that take long to begin do not raise the number begun from turn to turn', async () => {
  const t = setup();
  t.slow.ms = 3;
  for (let n = 0; n < 100; n++) t.ask(n % 2 === 0 ? 'ada' : 'grace');
  let most = 0;
  while (t.begun.length < 100) {
    const before = t.begun.length;
    await setImmediate();
    most = Math.max(most, t.begun.length - before);
  }
  // At most two turns of the loop, a few in each.
  expect(most).toBeLessThanOrEqual(8);
});

test('if too many requests of one caller wait, further ones are refused until one is begun or leaves, but others’ are taken', async () => {
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

describe('requests that give way to others', () => {
  function setupBehind() {
    vi.useFakeTimers({ toFake: ['setTimeout'] });
    onTestFinished(() => void vi.useRealTimers());
    const t = setup();
    const limits = { mostUnderWay: 100, mostWaiting: 1_000, beginsInAMs: 0.2, beginsOfEachInAMs: 0 };
    const behind = new FairTurns({ ...limits, giveWayTo: t.turns }, () => t.clock.ms);
    return {
      ...t,
      askBehind: (what: string) => behind.take('mallory', () => t.begun.push(what)),
      async pass(ms: number) {
        t.clock.ms += ms;
        vi.advanceTimersByTime(ms);
        await t.settled();
      },
    };
  }

  test('are begun at once while nothing of the others is under way', async () => {
    const t = setupBehind();
    t.ask('ada')?.();
    t.clock.ms += 1;
    for (let n = 0; n < 50; n++) t.askBehind('mallory');
    await t.settled();
    expect(t.begun).toHaveLength(51);
  });

  test('wait while anything of the others is under way, and are begun when that ends', async () => {
    const t = setupBehind();
    const ends = [t.ask('ada'), t.ask('grace')];
    for (let n = 0; n < 50; n++) t.askBehind('mallory');
    await t.settled();
    expect(t.begun.filter((what) => what === 'mallory').length).toBeLessThanOrEqual(2);
    ends[0]?.();
    await t.settled();
    expect(t.begun.length).toBeLessThanOrEqual(4);
    ends[1]?.();
    await t.settled();
    expect(t.begun).toHaveLength(52);
  });

  test('do not wait for requests that take long', async () => {
    const t = setupBehind();
    t.ask('ada');
    for (let n = 0; n < 50; n++) t.askBehind('mallory');
    await t.pass(50);
    expect(t.begun.length).toBeLessThan(20);
    await t.pass(60);
    expect(t.begun).toHaveLength(51);
  });

  test('are begun slowly, however much of the others is under way', async () => {
    const t = setupBehind();
    t.ask('ada');
    for (let n = 0; n < 100; n++) t.askBehind('mallory');
    await t.settled();
    const before = t.begun.filter((what) => what === 'mallory').length;
    for (let n = 0; n < 40; n++) {
      t.ask('ada');
      await t.pass(5);
    }
    expect(t.begun.filter((what) => what === 'mallory').length - before).toBe(40);
  });

  test('are begun no more slowly if turns take long', async () => {
    const t = setupBehind();
    t.ask('ada');
    for (let n = 0; n < 100; n++) t.askBehind('mallory');
    const before = t.begun.length;
    for (let n = 0; n < 4; n++) {
      t.clock.ms += 50;
      await setImmediate();
    }
    expect(t.begun.length - before).toBe(40);
  });
});

describe('an asker that keeps exceeding its permitted rate', () => {
  /** Ada has asked for 60 requests, and one of them is under way beyond her permitted rate. */
  async function greedy() {
    vi.useFakeTimers({ toFake: ['setTimeout'] });
    onTestFinished(() => void vi.useRealTimers());
    const t = setup(6, 1_000, { atWill: { perS: 100, burst: 20 } });
    t.ask('linus')?.();
    t.begun.length = 0;
    const ends = Array.from({ length: 60 }, (_, n) => t.ask('ada', `ada ${n}`));
    let ended = 0;
    /** Ends the oldest one under way after it took this long. */
    const end = async (tookMs: number) => {
      t.clock.ms += tookMs;
      ends[ended]?.();
      ended += 1;
      await t.settled();
    };
    const pass = async (ms: number) => {
      t.clock.ms += ms;
      vi.advanceTimersByTime(ms);
      await t.settled();
    };
    await t.settled();
    while (t.begun.length < 21) await end(0);
    while (ended < t.begun.length) await end(0);
    await pass(0);
    return { ...t, end, pass };
  }

  test('is served one at a time, with a pause four times as long as the previous request took', async () => {
    const t = await greedy();
    for (let n = 0; n < 15; n += 1) {
      await t.end(0);
      await t.pass(0);
    }
    for (let n = 0; n < 10; n += 1) {
      const begun = t.begun.length;
      await t.end(3);
      expect(t.begun).toHaveLength(begun);
      await t.pass(11);
      expect(t.begun).toHaveLength(begun);
      await t.pass(1);
      expect(t.begun).toHaveLength(begun + 1);
    }
  });

  test('still gets its permitted rate, however long each request takes', async () => {
    const t = await greedy();
    const begun = t.begun.length;
    // Twenty more are remembered than she may have at once.
    for (let ms = 0; ms < 300; ms += 12) await t.pass(12);
    expect(t.begun.length - begun).toBeGreaterThanOrEqual(25);
  });

  test('delays nobody else', async () => {
    const t = await greedy();
    for (const whose of ['grace', 'grace', 'edsger']) t.ask(whose);
    await t.settled();
    expect(t.begun.slice(-3).sort()).toEqual(['edsger', 'grace', 'grace']);
  });
});

test('an asker that sends one request after the other never waits, however many it sends', async () => {
  const t = setup(6, 1_000, { atWill: { perS: 100, burst: 20 } });
  for (let n = 0; n < 500; n += 1) {
    const end = t.ask('ada', String(n));
    await t.settled();
    expect(t.begun).toHaveLength(n + 1);
    end?.();
  }
});

test('an asker beyond its permitted rate is not slowed down if nobody else asks', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout'] });
  onTestFinished(() => void vi.useRealTimers());
  const t = setup(6, 1_000, { atWill: { perS: 100, burst: 20 } });
  t.ask('grace')?.();
  t.clock.ms += 1_000;
  const ends = Array.from({ length: 60 }, (_, n) => t.ask('ada', String(n)));
  for (const end of ends.slice(0, 54)) {
    await t.settled();
    end?.();
  }
  await t.settled();
  expect(t.begun).toHaveLength(61);
});
