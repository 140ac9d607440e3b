// Of what has no versions: a change says what it was made from, field by field, and is refused where that is no longer so.
import { isDeepStrictEqual } from 'node:util';
import type { ErrorDetail } from '@opsconductor/protocol';
import { AppError } from './errors.ts';

const maxShownChars = 200;

/**
 * To be called with the row locked.
 *
 * @throws {AppError} `conflict` with a detail for each field that is not what `expected` says, at `expected.<field>`.
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

/** UUIDs are the same in either case. */
function isSame(field: string, now: unknown, expected: unknown): boolean {
  const isId = field === 'credentialId' && typeof expected === 'string';
  return isDeepStrictEqual(now, isId ? expected.toLowerCase() : expected);
}

function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? 'nothing';
  return text.length > maxShownChars ? `${text.slice(0, maxShownChars)}…` : text;
}
