import type { WhenStatus } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { followStep, type StepEnd } from './follow-step.ts';

const waiting = (text: string) =>
  [...text].map((letter, id) => ({
    id,
    when: ({ s: 'success', f: 'failure', a: 'always' } as const)[letter] as WhenStatus,
  }));

/** Steps as letters in, what becomes of each as a letter out: > runs, x skipped, n not needed, c cancelled, . waits. */
function course(ended: StepEnd, later: string, of: { first?: StepEnd; cancelling?: boolean } = {}) {
  const steps = waiting(later);
  const { next, closed, end, firstFailure, isCleanUp } = followStep(ended, {
    later: steps,
    firstFailure: of.first ?? null,
    cancelling: of.cancelling ?? false,
  });
  const told = steps.map((step) => {
    if (step === next) return isCleanUp ? '+' : '>';
    const how = closed.find((each) => each.step === step);
    if (how === undefined) return '.';
    if (how.status === 'cancelled') return 'c';
    return how.reason === 'predecessor' ? 'x' : 'n';
  });
  return [told.join(''), end ?? firstFailure];
}

test.each<[string, StepEnd, string, { first?: StepEnd; cancelling?: boolean }, string, string | null]>([
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
  ['a cancel closes the steps that would follow', 'succeeded', 'ss', { cancelling: true }, 'cc', 'cancelled'],
  ['a cancel lets clean-ups run', 'succeeded', 'sfa', { cancelling: true }, 'c+.', 'cancelled'],
  ['a cancelled step is cleaned up after', 'cancelled', 'sf', { cancelling: true }, 'c+', 'cancelled'],
  ['a cancel that finds the last step done', 'succeeded', 'f', { cancelling: true }, 'n', 'succeeded'],
])('%s', (_, ended, later, of, told, end) => {
  expect(course(ended, later, of)).toEqual([told, end]);
});
