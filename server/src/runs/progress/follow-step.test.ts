import type { WhenStatus } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { followStep, type StepEnd, type Stopped } from './follow-step.ts';

const waiting = (text: string) =>
  [...text].map((letter, id) => ({
    id,
    when: ({ s: 'success', f: 'failure', a: 'always' } as const)[letter] as WhenStatus,
  }));

/**
 * Steps as letters in, what becomes of each as a letter out: > runs, x skipped, n not needed, c cancelled, t timed out,
 * . waits.
 */
function course(ended: StepEnd, later: string, of: { first?: StepEnd; stopped?: Stopped } = {}) {
  const steps = waiting(later);
  const { next, closed, end, firstFailure, isCleanUp } = followStep(ended, {
    later: steps,
    firstFailure: of.first ?? null,
    stopped: of.stopped ?? null,
  });
  const told = steps.map((step) => {
    if (step === next) return isCleanUp ? '+' : '>';
    const how = closed.find((each) => each.step === step);
    if (how === undefined) return '.';
    if (how.status === 'cancelled') return 'c';
    if (how.status === 'timed_out') return how.reason === 'run_timeout' ? 't' : '?';
    return how.reason === 'predecessor' ? 'x' : 'n';
  });
  return [told.join(''), end ?? firstFailure];
}

test.each<[string, StepEnd, string, { first?: StepEnd; stopped?: Stopped }, string, string | null]>([
  ['the next step follows a success', 'succeeded', 'ss', {}, '>.', null],
  ['the last success ends the target run', 'succeeded', '', {}, '', 'succeeded'],
  ['a step for failures is passed over after a success', 'succeeded', 'fs', {}, 'n>', null],
  ['steps for failures are not needed in the end', 'succeeded', 'ff', {}, 'nn', 'succeeded'],
  ['a step that always runs follows a success', 'succeeded', 'as', {}, '>.', null],
  ['a failure skips steps that need a success', 'failed', 'ss', {}, 'xx', 'failed'],
  ['a failure continues with the next clean-up step', 'failed', 'ssfs', {}, 'xx+.', 'failed'],
  ['a timeout does too', 'timed_out', 'sa', {}, 'x+', 'timed_out'],
  [
    'after cleaning up, the first failure decides',
    'succeeded',
    's',
    { first: 'timed_out' },
    'x',
    'timed_out',
  ],
  [
    'a clean-up that fails is followed by the next one',
    'failed',
    'sf',
    { first: 'timed_out' },
    'x+',
    'timed_out',
  ],
  ['nothing runs beside a step that may still run', 'unknown', 'sfa', {}, 'xxx', 'unknown'],
  ['an unknown clean-up ends as the first failure', 'unknown', 'fa', { first: 'failed' }, 'xx', 'failed'],
  [
    'a cancel closes the steps that would follow',
    'succeeded',
    'ss',
    { stopped: 'cancelled' },
    'cc',
    'cancelled',
  ],
  ['a cancel lets clean-ups run', 'succeeded', 'sfa', { stopped: 'cancelled' }, 'c+.', 'cancelled'],
  ['a cancelled step is cleaned up after', 'cancelled', 'sf', { stopped: 'cancelled' }, 'c+', 'cancelled'],
  ['a cancel that finds the last step done', 'succeeded', 'f', { stopped: 'cancelled' }, 'n', 'succeeded'],
  ['so does the timeout of the run', 'succeeded', 'ss', { stopped: 'timed_out' }, 'tt', 'timed_out'],
  ['which lets clean-ups run as well', 'succeeded', 'sfa', { stopped: 'timed_out' }, 't+.', 'timed_out'],
  ['and says so of what never ran', 'unknown', 'sfa', { stopped: 'timed_out' }, 'ttt', 'unknown'],
])('%s', (_, ended, later, of, told, end) => {
  expect(course(ended, later, of)).toEqual([told, end]);
});
