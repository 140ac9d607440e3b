// Conflicts between edits of things that have no versions: a change says which field values it was made from, and is
// refused if any of them differs by now.
import { isDeepStrictEqual } from 'node:util';
import type { ErrorDetail } from '@opsconductor/protocol';
import { AppError } from '../errors.ts';

const maxShownChars = 200;

/**
 * Call it with the row locked.
 *
 * @throws {AppError} `conflict`, with a detail at `expected.<field>` for each field whose value is not the expected
 *   one.
 */
export function refuseChanged(
  what: string,
  now: Record<string, unknown>,
  expected: Record<string, unknown> | undefined,
): void {
  const details = Object.entries(expected ?? {}).flatMap(([field, value]): ErrorDetail[] => {
    if (isSame(field, now[field], value)) return [];
    return [{ path: `expected.${field}`, found: shown(value), message: `Is ${shown(now[field])} by now.` }];
  });
  if (details.length === 0) return;
  const fields = details.map(({ path }) => path.slice('expected.'.length)).join(', ');
  throw new AppError(
    'conflict',
    `${what} was changed meanwhile: ${fields}. Nothing was saved; look at what it is now, then save again.`,
    { details },
  );
}

/** UUIDs are compared without regard to case. */
function isSame(field: string, now: unknown, expected: unknown): boolean {
  const isId = field === 'credentialId' && typeof expected === 'string';
  return isDeepStrictEqual(now, isId ? expected.toLowerCase() : expected);
}

function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? 'nothing';
  return text.length > maxShownChars ? `${text.slice(0, maxShownChars)}…` : text;
}
