// Checks values against their schemas on entry to this folder. Interpreted, not compiled, because the console's content
// security policy forbids code from strings.
import type { Static, TSchema } from 'typebox';
import { Check, Errors } from 'typebox/value';
import { SealingError } from './sealing-error.ts';

export interface Problem {
  /** Such as `bounds.networks[2]`; empty for the whole value. */
  path: string;
  message: string;
}

/** Returns what is wrong with a value by its schema. Messages don't repeat values, which may be secret. */
export function problemsOf(schema: TSchema, value: unknown): Problem[] {
  if (Check(schema, value)) return [];
  return Errors(schema, value).map(({ instancePath, message }) => ({ path: dotted(instancePath), message }));
}

/** @throws {SealingError} `malformed`, with the path of the first problem. */
export function assertShape<T extends TSchema>(
  schema: T,
  value: unknown,
  what: string,
): asserts value is Static<T> {
  refuseProblems(problemsOf(schema, value), what);
}

/** @throws {SealingError} `malformed` if there is a problem. */
export function refuseProblems(problems: readonly Problem[], what: string): void {
  const [first] = problems;
  if (first === undefined) return;
  const where = first.path === '' ? what : `${what}: ${first.path}`;
  throw new SealingError('malformed', `${where} ${first.message}`);
}

/** Turns a JSON pointer into the usual notation: `/hosts/2` becomes `hosts[2]`. */
function dotted(pointer: string): string {
  return pointer
    .split('/')
    .slice(1)
    .map((part) => (/^[0-9]+$/.test(part) ? `[${part}]` : `.${part}`))
    .join('')
    .replace(/^\./, '');
}
