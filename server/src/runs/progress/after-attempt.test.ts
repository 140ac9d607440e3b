import type { StepOutcome } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { plainRules, type StepRules, stepRulesOf } from '../../jobs/definition/step-rules.ts';
import { afterAttempt } from './after-attempt.ts';

const exit: StepOutcome = { status: 'failed', exitCode: 3, reason: 'exit_code' };
const unknown: StepOutcome = { status: 'unknown', reason: 'agent_silent' };
const survivors = [{ pid: 7, command: 'sleep' }];

function rulesOf(step: object): StepRules {
  const definition = { name: 's', type: 'ssh.exec', config: {}, ...step } as never;
  return stepRulesOf({ steps: [definition] })?.[0] ?? plainRules;
}

function after(outcome: StepOutcome, step: object, tries = 1, random = 0.5) {
  return afterAttempt(outcome, { rules: rulesOf(step), tries, random: () => random });
}

test('a step without rules ends with its attempt', () => {
  for (const outcome of [exit, unknown, { status: 'timed_out' } as const]) {
    expect(after(outcome, {})).toEqual({ is: 'end' });
  }
});

test('tries are counted overall, and delays grow up to their limit', () => {
  const step = { retry: { attempts: 4, delay: 10, backoff: 3, max_delay: 60 } };
  const delays = [1, 2, 3].map((tries) => after(exit, step, tries));
  expect(delays).toEqual([10, 30, 60].map((inS) => ({ is: 'retry', inS, of: 4 })));
  expect(after(exit, step, 4)).toEqual({ is: 'end' });
});

test('chance changes a delay by up to a fifth, and never beyond the longest', () => {
  const step = { retry: { attempts: 3, delay: 10, max_delay: 21 } };
  expect([0, 1].map((random) => after(exit, step, 1, random))).toMatchObject([{ inS: 8 }, { inS: 12 }]);
  expect(after(exit, step, 2, 1)).toMatchObject({ inS: 21 });
});

test.each<[string, StepOutcome, object, boolean]>([
  ['an exit code, unless told otherwise', exit, {}, true],
  ['a host that is not reached', { status: 'failed', reason: 'unreachable' }, {}, true],
  ['a timeout', { status: 'timed_out', reason: 'timed_out' }, {}, true],
  [
    'a key that is not accepted, only when asked',
    { status: 'failed', reason: 'host_key_mismatch' },
    {},
    false,
  ],
  [
    'a key that is not accepted',
    { status: 'failed', reason: 'host_key_mismatch' },
    { on: ['host_key_mismatch'] },
    true,
  ],
  ['what is not in the list', exit, { on: ['unreachable'] }, false],
  ['what was cancelled', { status: 'cancelled', reason: 'cancelled' }, {}, false],
  ['what may have run', unknown, {}, false],
  ['what could not be ended', { ...exit, survivors }, {}, false],
])('a retry and %s', (_, outcome, retry, again) => {
  expect(after(outcome, { retry: { attempts: 2, ...retry } }).is).toBe(again ? 'retry' : 'end');
});

test('survivors don’t keep an idempotent step from being retried', () => {
  const step = { idempotent: true, retry: { attempts: 2 } };
  expect(after({ ...exit, survivors }, step)).toMatchObject({ is: 'retry' });
});

test('an unknown attempt is held for the given time, by default a day', () => {
  expect(after(unknown, { on_unknown: 'hold' })).toEqual({ is: 'hold', forS: 86_400 });
  expect(after(unknown, { on_unknown: 'hold', hold_for: 90 })).toEqual({ is: 'hold', forS: 90 });
  expect(after(exit, { on_unknown: 'hold' })).toEqual({ is: 'end' });
});

test('an unknown attempt of an idempotent step is retried once, or as often as its retry rule says', () => {
  const step = { on_unknown: 'retry', idempotent: true };
  expect(after(unknown, step)).toEqual({ is: 'retry', inS: 0, of: 2 });
  expect(after(unknown, step, 2)).toEqual({ is: 'end' });
  expect(after(unknown, { ...step, retry: { attempts: 3 } }, 2)).toEqual({ is: 'retry', inS: 20, of: 3 });
});
