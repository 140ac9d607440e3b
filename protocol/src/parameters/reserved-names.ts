import type { ErrorDetail } from '../api/errors.ts';
import { visibleJson } from '../api/text.ts';

/**
 * Names that every JavaScript object has from the start: a value under one of them could be taken for something else.
 */
export const reservedNames: ReadonlySet<string> = new Set(['__proto__', 'constructor', 'prototype']);

/**
 * Returns the error for a name that programs reserve; empty for any other.
 * @param what what has the name, in words: `parameter`
 */
export function reservedProblem(name: string, path: string, what: string): ErrorDetail[] {
  if (!reservedNames.has(name)) return [];
  return [
    {
      path,
      message: `No ${what} can be called ${name}, a name that programs reserve; choose another one.`,
      found: visibleJson(name),
      allowed: `a name other than ${[...reservedNames].join(', ')}`,
    },
  ];
}
