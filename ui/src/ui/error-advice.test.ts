import { expect, it } from 'vitest';
import { detailsBeside } from './error-advice.ts';

const whole = { path: 'grant.terms', message: 'The grant has expired.' };

it('tells a single detail once: the message has it already', () => {
  expect(detailsBeside({ message: 'grant.terms: The grant has expired.', details: [whole] })).toEqual([]);
});

it.each([
  ['where the message does not', 'The grant has expired.', [whole]],
  ['what may be there', 'grant.terms: The grant has expired.', [{ ...whole, allowed: 'a new one' }]],
  ['one of several', 'grant.terms: The grant has expired.', [whole, { ...whole, path: 'grant' }]],
])('tells %s', (_what, message, details) => {
  expect(detailsBeside({ message, details })).toEqual(details);
});
