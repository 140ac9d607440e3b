import { runStatuses } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { type PartFigures, partStatus } from './run-part.ts';

const terms = { maxFailures: 0, cancelRequested: false };

function targets(some: Partial<PartFigures['targets']>): PartFigures['targets'] {
  const none = Object.fromEntries(runStatuses.map((status) => [status, 0])) as PartFigures['targets'];
  return { ...none, ...some };
}

test('a part is held only while nothing of it is going on, and a host that is being cancelled is going on', () => {
  expect(partStatus(targets({ held: 1, succeeded: 1 }), terms)).toBe('held');
  expect(partStatus(targets({ held: 1, running: 1 }), terms)).toBe('running');
  expect(partStatus(targets({ held: 1, cancelling: 1 }), terms)).toBe('running');
});

test('a part of which one host was cancelled by itself is cancelled, unless another failed or is unknown', () => {
  expect(partStatus(targets({ cancelled: 1, succeeded: 2 }), terms)).toBe('cancelled');
  expect(partStatus(targets({ cancelled: 1, failed: 1 }), terms)).toBe('failed');
  expect(partStatus(targets({ cancelled: 1, unknown: 1 }), terms)).toBe('unknown');
});
