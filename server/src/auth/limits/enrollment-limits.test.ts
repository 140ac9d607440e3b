import { formatEnrollmentToken } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { EnrollmentLimits } from './enrollment-limits.ts';

function setup() {
  let nowMs = 1_000_000;
  const limits = new EnrollmentLimits(() => new Date(nowMs));
  const counts = (address: string, token?: string) => {
    try {
      limits.countRequest(address, token);
      return 0;
    } catch (error) {
      return (error as { retryAfterS?: number }).retryAfterS;
    }
  };
  return { counts, advance: (ms: number) => (nowMs += ms) };
}

const token = (letter: string, root = 'ab') =>
  formatEnrollmentToken({ secret: letter.repeat(43), rootSha256: root.repeat(32) });

test('an address has a burst large enough for a site of agents, then one request a second', () => {
  const { counts, advance } = setup();
  for (let n = 0; n < 60; n += 1) expect(counts('192.0.2.1')).toBe(0);
  expect(counts('192.0.2.1')).toBe(1);
  expect(counts('192.0.2.2')).toBe(0);
  advance(1_000);
  expect([counts('192.0.2.1'), counts('192.0.2.1')]).toEqual([0, 1]);
});

test('all addresses of an IPv6 network count as one', () => {
  const { counts } = setup();
  for (let n = 0; n < 60; n += 1) counts(`2001:db8::${n.toString(16)}`);
  expect(counts('2001:db8::ffff')).toBe(1);
  expect(counts('2001:db8:0:1::1')).toBe(0);
});

test('a token can be tried only a few times, from any number of addresses and in any disguise', () => {
  const { counts, advance } = setup();
  for (let n = 0; n < 10; n += 1)
    expect(counts(`192.0.2.${n}`, token('A', n % 2 === 0 ? 'ab' : 'cd'))).toBe(0);
  expect(counts('198.51.100.1', token('A', 'ef'))).toBe(30);
  expect(counts('198.51.100.1', token('B'))).toBe(0);
  advance(30_000);
  expect(counts('198.51.100.1', token('A'))).toBe(0);
});

test('a malformed token counts only for the address', () => {
  const { counts } = setup();
  for (let n = 0; n < 20; n += 1) expect(counts(`192.0.2.${n}`, 'no token')).toBe(0);
});
