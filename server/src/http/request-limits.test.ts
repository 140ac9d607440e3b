import { expect, test } from 'vitest';
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

const refusalOf = (call: () => void): AppError | undefined => {
  try {
    call();
    return undefined;
  } catch (error) {
    if (error instanceof AppError) return error;
    throw error;
  }
};

test('a caller past the limit is told when to come back, with whichever token, and then may again', () => {
  const limits = start();
  limits.countCaller(caller(1, 1));
  limits.countCaller(caller(1, 2));
  const refusal = refusalOf(() => limits.countCaller(caller(1, 3)));
  expect(refusal).toMatchObject({ code: 'rate_limited', retryAfterS: 1 });
  nowMs += 1_000;
  expect(refusalOf(() => limits.countCaller(caller(1)))).toBeUndefined();
});

test('callers do not use up each other’s share, nor does a stranger at their address', () => {
  const limits = start();
  for (let i = 0; i < 5; i++) {
    refusalOf(() => limits.countCaller(caller(1)));
    refusalOf(() => limits.countStranger('192.0.2.1'));
  }
  expect(refusalOf(() => limits.countCaller(caller(2)))).toBeUndefined();
  expect(refusalOf(() => limits.countStranger('192.0.2.2'))).toBeUndefined();
  expect(refusalOf(() => limits.countStranger('192.0.2.1'))?.code).toBe('rate_limited');
});

test('a stranger who turned out to be none is as if they had not been counted', () => {
  const limits = start();
  for (let i = 0; i < 5; i++) {
    limits.countStranger('192.0.2.3');
    limits.uncountStranger('192.0.2.3');
  }
  limits.countStranger('192.0.2.3');
  limits.countStranger('192.0.2.3');
  expect(refusalOf(() => limits.countStranger('192.0.2.3'))).toMatchObject({ retryAfterS: 1 });
});

test('few files are read at a time, and a place that is given back is free', () => {
  const limits = start();
  const [first] = [limits.holdFile(), limits.holdFile()];
  expect(refusalOf(() => limits.holdFile())).toMatchObject({ code: 'rate_limited', retryAfterS: 5 });
  first?.();
  expect(refusalOf(() => limits.holdFile())).toBeUndefined();
});
