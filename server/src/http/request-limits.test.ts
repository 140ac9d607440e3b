import { expect, onTestFinished, test, vi } from 'vitest';
import { Authority } from '../auth/authority.ts';
import { AppError } from '../errors.ts';
import { RequestLimits } from './request-limits.ts';
import type { Principal } from './route.ts';

const limit = { burst: 2, refillMs: 1_000 };
let nowMs = 0;
const start = () => new RequestLimits(() => new Date(nowMs), { ofCaller: limit, ofStranger: limit });
const caller = (userId: number, viaId = 1): Principal => ({
  userId,
  name: 'ada',
  authority: new Authority([]),
  via: 'api_token',
  viaId,
});

const refusalOf = async (call: () => unknown): Promise<AppError | undefined> => {
  try {
    await call();
    return undefined;
  } catch (error) {
    if (error instanceof AppError) return error;
    throw error;
  }
};

test('a caller over the limit is told when to try again, whichever token they use, and then may continue', async () => {
  const limits = start();
  await limits.countCaller(caller(1, 1));
  await limits.countCaller(caller(1, 2));
  const refusal = await refusalOf(() => limits.countCaller(caller(1, 3)));
  expect(refusal).toMatchObject({ code: 'rate_limited', retryAfterS: 1 });
  nowMs += 1_000;
  expect(await refusalOf(() => limits.countCaller(caller(1)))).toBeUndefined();
});

test('callers do not use up each other’s share, and nor does an unknown caller at their address', async () => {
  const limits = start();
  for (let i = 0; i < 5; i++) {
    await refusalOf(() => limits.countCaller(caller(1)));
    await refusalOf(() => limits.countStranger('192.0.2.1'));
  }
  expect(await refusalOf(() => limits.countCaller(caller(2)))).toBeUndefined();
  expect(await refusalOf(() => limits.countStranger('192.0.2.2'))).toBeUndefined();
  expect((await refusalOf(() => limits.countStranger('192.0.2.1')))?.code).toBe('rate_limited');
});

test('a caller who keeps asking over the limit is refused one request at a time, and nobody else waits', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout'] });
  onTestFinished(() => void vi.useRealTimers());
  const limits = start();
  for (let i = 0; i < 2; i++) await limits.countCaller(caller(1));
  let refused = 0;
  for (let i = 0; i < 8; i++) void refusalOf(() => limits.countCaller(caller(1))).then(() => refused++);
  await limits.countCaller(caller(2));
  expect(refused).toBe(0);
  const refusedAfter: number[] = [];
  for (let i = 0; i < 8; i++) {
    await vi.advanceTimersByTimeAsync(20);
    refusedAfter.push(refused);
  }
  expect(refusedAfter).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
});

test.each([
  ['token', {}],
  ['session', { via: 'session', viaId: 1 } as const],
])('a caller refused with another %s does not wait for the refusals of the first', async (_, other) => {
  vi.useFakeTimers({ toFake: ['setTimeout'] });
  onTestFinished(() => void vi.useRealTimers());
  const limits = start();
  for (let i = 0; i < 2; i++) await limits.countCaller(caller(1));
  for (let i = 0; i < 8; i++) void refusalOf(() => limits.countCaller(caller(1)));
  const refused = refusalOf(() => limits.countCaller({ ...caller(1, 2), ...other }));
  let isRefused = false;
  void refused.then(() => {
    isRefused = true;
  });
  await vi.advanceTimersByTimeAsync(20);
  expect(isRefused).toBe(true);
  expect((await refused)?.code).toBe('rate_limited');
});

test('a request counted as unknown is uncounted once its caller turns out to be known', async () => {
  const limits = start();
  for (let i = 0; i < 5; i++) {
    limits.countStranger('192.0.2.3');
    limits.uncountStranger('192.0.2.3');
  }
  limits.countStranger('192.0.2.3');
  limits.countStranger('192.0.2.3');
  expect(await refusalOf(() => limits.countStranger('192.0.2.3'))).toMatchObject({ retryAfterS: 1 });
});

test('only a few files are read at a time, and a released place is free again', async () => {
  const limits = start();
  const [first] = [limits.holdFile(caller(1)), limits.holdFile(caller(2))];
  const third = () => limits.holdFile(caller(3));
  expect(await refusalOf(third)).toMatchObject({ code: 'rate_limited', retryAfterS: 5 });
  first?.();
  expect(await refusalOf(third)).toBeUndefined();
});

test('a caller who sends files and uploads slowly leaves places to others, whichever token they use', async () => {
  const limits = start();
  const releases = [1, 2, 3, 4].map((viaId) => limits.holdUpload(caller(1, viaId)));
  expect(await refusalOf(() => limits.holdUpload(caller(1, 5)))).toMatchObject({ retryAfterS: 1 });
  expect(await refusalOf(() => limits.holdUpload(caller(2)))).toBeUndefined();
  for (const release of releases) release();
  expect(await refusalOf(() => limits.holdUpload(caller(1, 5)))).toBeUndefined();
  limits.holdFile(caller(1, 1));
  expect(await refusalOf(() => limits.holdFile(caller(1, 2)))).toMatchObject({ retryAfterS: 5 });
  expect(await refusalOf(() => limits.holdFile(caller(2)))).toBeUndefined();
});
