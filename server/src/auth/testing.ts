// For tests in which passwords are hashed and their cost is not the point.
import { afterAll, beforeAll } from 'vitest';
import { passwordCost } from './password-cost.ts';

/** Makes passwords cheap to hash for the tests of this file. Returns what they cost in earnest. */
export function hashCheaply(): typeof passwordCost {
  const real = { ...passwordCost };
  beforeAll(() => void Object.assign(passwordCost, { N: 2 ** 10, p: 1 }));
  afterAll(() => void Object.assign(passwordCost, real));
  return real;
}
