// For tests that hash passwords but do not test their cost.
import { afterAll, beforeAll } from 'vitest';
import { passwordCost } from './password-cost.ts';

/** Makes passwords cheap to hash for the tests of this file. Returns their real cost. */
export function hashCheaply(): typeof passwordCost {
  const real = { ...passwordCost };
  beforeAll(() => void Object.assign(passwordCost, { N: 2 ** 10, p: 1 }));
  afterAll(() => void Object.assign(passwordCost, real));
  return real;
}
