import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { machineTimeBefore, msSince } from './machine-time.ts';

const hourMs = 3_600_000;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['Date'], now: Date.parse('2026-01-01T12:00:00.000Z') });
});
afterEach(() => {
  vi.useRealTimers();
});

/** Returns the present time as a journal keeps it. */
const now = () => ({ at: new Date().toISOString(), ...machineTimeBefore(0) });

test.each([hourMs, -hourMs])('time that the wall clock was set by (%i ms) has not passed', (set) => {
  const { at, machineTime } = now();
  vi.setSystemTime(Date.now() + set);
  const ms = msSince(at, machineTime);
  expect(ms).toBeGreaterThanOrEqual(0);
  expect(ms).toBeLessThan(60_000);
});

test('what had begun earlier is that much longer ago', () => {
  const { machineTime } = machineTimeBefore(hourMs);
  expect(msSince(new Date().toISOString(), machineTime)).toBeGreaterThanOrEqual(hourMs);
});

test('the wall clock tells it if the machine was started since, if its clock began anew, and if nothing else was kept', () => {
  const { at, machineTime } = now();
  vi.setSystemTime(Date.now() + hourMs);
  const { boot = '', ms = 0 } = machineTime ?? {};
  expect(msSince(at, { boot: 'another', ms })).toBe(hourMs);
  expect(msSince(at, { boot, ms: ms + 2 * hourMs })).toBe(hourMs);
  expect(msSince(at, undefined)).toBe(hourMs);
  vi.setSystemTime(Date.now() - 2 * hourMs);
  expect(msSince(at, undefined)).toBe(0);
});
