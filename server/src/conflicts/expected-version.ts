// The version that a change was made from, so that nobody's change is lost: in the body or in the header If-Match.
import { invalidField } from '../errors.ts';

export interface ExpectedVersion {
  version: number;
  /** Where the caller named it. */
  namedBy: 'expectedVersion' | 'If-Match';
}

/** @throws {AppError} `invalid` if neither names it. */
export function requireExpectedVersion(
  told: number | undefined,
  ifMatch: number | undefined,
): ExpectedVersion {
  if (told !== undefined) return { version: told, namedBy: 'expectedVersion' };
  if (ifMatch !== undefined) return { version: ifMatch, namedBy: 'If-Match' };
  throw invalidField(
    'expectedVersion',
    'Say which version you changed, in expectedVersion or the header If-Match, so that nobody’s change is lost.',
    { allowed: 'the number of the version that was changed, or the header If-Match: "3"' },
  );
}

/** @throws {AppError} `invalid` for a version that does not exist yet. */
export function refuseAhead({ version, namedBy }: ExpectedVersion, newest: number, message: string): void {
  if (version <= newest) return;
  const asNamed = (number: number) => (namedBy === 'If-Match' ? `"${number}"` : String(number));
  throw invalidField(namedBy, message, { found: asNamed(version), allowed: asNamed(newest) });
}

/** Returns how the caller names this version in the next try. */
export function namingOf({ namedBy }: ExpectedVersion, version: number): string {
  return namedBy === 'If-Match' ? `If-Match: "${version}"` : `expectedVersion ${version}`;
}
