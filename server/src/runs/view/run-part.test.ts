import { runStatuses } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { type PartFigures, partStatus, RunPart } from './run-part.ts';

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

test('a part that has ended keeps its status in later events if the rest is cancelled, until it is open again', () => {
  const part = new RunPart(
    [
      { id: 1, stepIds: [11] },
      { id: 2, stepIds: [12] },
    ],
    { maxFailures: 0 },
  );
  const ended = { startedAt: '2026-01-01T00:00:00Z', completedAt: '2026-01-01T00:00:01Z' };
  const seen = part.see({
    targetRuns: [
      { id: 1, status: 'failed', ...ended },
      { id: 2, status: 'cancelled', ...ended },
    ],
  });
  expect(seen?.run).toMatchObject({ status: 'failed' });
  expect(part.see({ run: { status: 'cancelling' } as never })).toBeUndefined();
  const late = part.see({ steps: [{ id: 11, outputState: 'complete' }] });
  expect(late?.run).toMatchObject({ status: 'failed' });
  const again = part.see({ targetRuns: [{ id: 1, status: 'running', startedAt: null, completedAt: null }] });
  expect(again?.run).toMatchObject({ status: 'cancelling' });
});
