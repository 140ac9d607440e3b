import { expect, test } from 'vitest';
import { busyReasonOf } from './busy.ts';

test('an agent is busy above its limits, and never without them', () => {
  const used = { rssBytes: 101, loadAverage: 3 };
  expect(busyReasonOf({}, used)).toBeUndefined();
  expect(busyReasonOf({ maxRssBytes: 101, maxLoad: 3 }, used)).toBeUndefined();
  expect(busyReasonOf({ maxRssBytes: 100 }, used)).toBe('memory');
  expect(busyReasonOf({ maxLoad: 2.5 }, used)).toBe('load');
});
