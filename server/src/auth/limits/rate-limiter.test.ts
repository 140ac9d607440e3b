import { expect, test } from 'vitest';
import { RateLimiter, rateLimitKeyOf } from './rate-limiter.ts';

function setup(limit: { burst: number; refillMs: number; maxKeys?: number }) {
  let nowMs = 1_000_000;
  const limiter = new RateLimiter(limit, () => new Date(nowMs));
  return { limiter, advance: (ms: number) => (nowMs += ms) };
}

test('a burst is let through, then one per refill, and the wait is returned', () => {
  const { limiter, advance } = setup({ burst: 2, refillMs: 1_000 });
  expect([limiter.take('a'), limiter.take('a'), limiter.take('a')]).toEqual([0, 0, 1_000]);
  expect(limiter.take('b')).toBe(0);
  advance(400);
  expect(limiter.take('a')).toBe(600);
  advance(600);
  expect([limiter.take('a'), limiter.take('a')]).toEqual([0, 1_000]);
});

test('asking while it is empty does not delay the refill', () => {
  const { limiter, advance } = setup({ burst: 1, refillMs: 1_000 });
  limiter.take('a');
  for (let i = 0; i < 9; i++) {
    advance(100);
    expect(limiter.take('a')).toBeGreaterThan(0);
  }
  advance(100);
  expect(limiter.take('a')).toBe(0);
});

test('a clock that is set back neither adds nor removes anything', () => {
  const { limiter, advance } = setup({ burst: 1, refillMs: 1_000 });
  limiter.take('a');
  advance(-60_000);
  expect(limiter.take('a')).toBe(1_000);
  advance(1_000);
  expect(limiter.take('a')).toBe(0);
});

test('memory is bounded; the least recently used key is forgotten first', () => {
  const { limiter } = setup({ burst: 1, refillMs: 1_000, maxKeys: 2 });
  limiter.take('a');
  limiter.take('b');
  limiter.take('a');
  limiter.take('c');
  expect(limiter.take('a')).toBeGreaterThan(0);
  expect(limiter.take('b')).toBe(0);
});

test('an IPv6 client is identified by its /64', () => {
  expect(rateLimitKeyOf('10.0.0.1')).toBe('10.0.0.1');
  expect(rateLimitKeyOf('2001:db8:1:2:3:4:5:6')).toBe('2001:db8:1:2::/64');
  expect(rateLimitKeyOf('2001:db8:0001:2::ffff')).toBe('2001:db8:1:2::/64');
  expect(rateLimitKeyOf('::1')).toBe('0:0:0:0::/64');
  expect(rateLimitKeyOf('fe80::1%eth0')).toBe('fe80:0:0:0::/64');
});
