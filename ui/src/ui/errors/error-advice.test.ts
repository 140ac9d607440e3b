import { expect, it } from 'vitest';
import { ApiError } from '../../api/client.ts';
import { adviceFor, detailsBeside, leadFor, lostStart } from './error-advice.ts';

const whole = { path: 'grant.terms', message: 'The grant has expired.' };

it('leaves out a single detail that the message already contains', () => {
  expect(detailsBeside({ message: 'grant.terms: The grant has expired.', details: [whole] })).toEqual([]);
  const told = {
    message: 'grant: Is not allowed. Allowed: a.',
    details: [{ path: 'grant', message: 'Is not allowed.', allowed: 'a' }],
  };
  expect(detailsBeside(told)).toEqual([]);
});

it.each([
  ['a detail that the message lacks', 'The grant has expired.', [whole]],
  ['what is allowed', 'grant.terms: The grant has expired.', [{ ...whole, allowed: 'a new one' }]],
  ['each of several details', 'grant.terms: The grant has expired.', [whole, { ...whole, path: 'grant' }]],
])('shows %s', (_what, message, details) => {
  expect(detailsBeside({ message, details })).toEqual(details);
});

const offline = (mayBeDone: boolean) => new ApiError('offline', 'The server did not answer.', { mayBeDone });

it('a change without an answer is reported neither as done nor as not done', () => {
  expect(leadFor(offline(true), 'The target was not deleted.')).toBe(
    'It is not known whether this was done.',
  );
  expect(adviceFor(offline(true))).toBe('Check whether it was done before you try again.');
  expect(leadFor(offline(true), 'The run did not start.', lostStart)).toBe(
    'It is not known whether the run started.',
  );
  expect(adviceFor(offline(true), lostStart)).toContain(
    'Press the button again: the run won’t start twice. Or check the list of runs.',
  );
  expect(leadFor(offline(false), 'The run did not start.', lostStart)).toBe('The run did not start.');
});

it('adds nothing to a conflict, whose message says what is in the way', () => {
  const kept = new ApiError('conflict', 'Runs on targets of segment “lab” are still kept.');
  expect(adviceFor(kept)).toBeUndefined();
  expect(adviceFor(new ApiError('conflict', 'No answer.', { mayBeDone: true }))).toContain('Check whether');
});

it('tells nobody to correct what can’t be corrected where they are', () => {
  const refused = new ApiError('invalid', 'Version 1 breaks a rule. Edit the job instead.');
  expect(adviceFor(refused)).toBe('Correct it and try again.');
  expect(adviceFor(refused, undefined, false)).toBeUndefined();
  expect(adviceFor(new ApiError('forbidden', 'No.'), undefined, false)).toContain('Ask an administrator');
});

it.each(['offline', 'unavailable', 'rate_limited'] as const)(
  'the console says that it tries again only where it does: %s',
  (code) => {
    const read = new ApiError(code, 'No.');
    expect(adviceFor(read)).not.toContain('by itself');
    expect(adviceFor(read)).toMatch(/try again/i);
    read.asksAgain = true;
    expect(adviceFor(read)).toMatch(/\. The console retries automatically\.$/);
  },
);
