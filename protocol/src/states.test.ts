import { expect, test } from 'vitest';
import {
  aggregateRun,
  isRunEnded,
  isStepEnded,
  mayBecome,
  runStatuses,
  statusEdges,
  stepStatuses,
  type TargetCounts,
  targetRunStatus,
} from './states.ts';

const none: TargetCounts = { succeeded: 0, failed: 0, cancelled: 0, timedOut: 0, unknown: 0 };

test.each<[string, Partial<TargetCounts>, { maxFailures?: number; cancelling?: boolean }, string]>([
  ['all succeeded', { succeeded: 3 }, {}, 'succeeded'],
  ['one failed, none tolerated', { succeeded: 2, failed: 1 }, {}, 'failed'],
  ['one failed, one tolerated', { succeeded: 2, failed: 1 }, { maxFailures: 1 }, 'partial'],
  ['two failed, one tolerated', { succeeded: 1, failed: 2 }, { maxFailures: 1 }, 'failed'],
  ['one timed out, none tolerated', { succeeded: 2, timedOut: 1 }, {}, 'timed_out'],
  ['one timed out, one tolerated', { succeeded: 2, timedOut: 1 }, { maxFailures: 1 }, 'partial'],
  ['failed and timed out', { failed: 1, timedOut: 1 }, {}, 'failed'],
  ['timed out and unknown', { timedOut: 1, unknown: 1 }, {}, 'failed'],
  ['unknown and no failure', { succeeded: 2, unknown: 1 }, {}, 'unknown'],
  ['unknown beside a tolerated failure', { failed: 1, unknown: 1 }, { maxFailures: 1 }, 'unknown'],
  ['failed beyond what is tolerated, and unknown', { failed: 1, unknown: 1 }, {}, 'failed'],
  ['cancelled on request', { succeeded: 1, cancelled: 2 }, { cancelling: true }, 'cancelled'],
  ['cancelled on request after a failure', { failed: 1, cancelled: 2 }, { cancelling: true }, 'cancelled'],
  ['cancelled on request, one not confirmed', { cancelled: 2, unknown: 1 }, { cancelling: true }, 'unknown'],
  ['cancelled on request when all had succeeded', { succeeded: 2 }, { cancelling: true }, 'succeeded'],
  ['a step was cancelled without a request', { succeeded: 1, cancelled: 1 }, {}, 'cancelled'],
])('a run: %s', (_, counts, options, status) => {
  expect(aggregateRun({ ...none, ...counts }, { maxFailures: 0, cancelling: false, ...options })).toBe(
    status,
  );
});

test('an ended run never changes; an unknown step may still get a result', () => {
  for (const status of runStatuses) if (isRunEnded(status)) expect(statusEdges.run[status]).toEqual([]);
  for (const status of stepStatuses)
    if (isStepEnded(status) && status !== 'unknown' && status !== 'skipped')
      expect(statusEdges.step[status]).toEqual([]);
  expect(statusEdges.step.unknown).toContain('succeeded');
  expect(statusEdges.step.skipped).toEqual(['pending']);
  expect(mayBecome('run', 'succeeded', 'running')).toBe(false);
  expect(mayBecome('step', 'running', 'ready')).toBe(true);
});

test('only unknown target runs can continue after their end', () => {
  for (const status of runStatuses)
    if (isRunEnded(status) && status !== 'unknown') expect(statusEdges.target_run[status]).toEqual([]);
  expect(mayBecome('target_run', 'unknown', 'running')).toBe(true);
  expect(mayBecome('run', 'unknown', 'running')).toBe(false);
});

test('every status that has not ended can end, and every status but the first can be reached', () => {
  for (const kind of ['step', 'run', 'target_run'] as const) {
    const edges: Record<string, readonly string[]> = statusEdges[kind];
    const ended = kind === 'step' ? isStepEnded : isRunEnded;
    const reached = new Set(Object.values(edges).flat());
    for (const [status, to] of Object.entries(edges)) {
      if (!ended(status as never)) expect(to.some((next) => ended(next as never))).toBe(true);
      if (status !== 'pending' && status !== 'queued') expect(reached).toContain(status);
    }
  }
});

test('a target run ends with the status of the step that ended it; a waiting step ends none', () => {
  for (const status of ['succeeded', 'failed', 'cancelled', 'timed_out', 'unknown', 'held'] as const)
    expect(targetRunStatus(status)).toBe(status);
  for (const status of ['pending', 'ready', 'running', 'skipped'] as const)
    expect(() => targetRunStatus(status)).toThrow(status);
});
