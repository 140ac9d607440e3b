import { invalidField } from '../../errors.ts';

/** Returns whether the client already has the version with this entity tag (If-None-Match, RFC 9110 section 13.1.2). */
export function isCurrent(request: Request, etag: string): boolean {
  const given = request.headers.get('if-none-match');
  if (given === null) return false;
  return given.trim() === '*' || given.split(',').some((tag) => tag.trim().replace(/^W\//, '') === etag);
}

/**
 * Returns the version that a change was made from, as If-Match names it (RFC 9110 section 13.1.1): `"3"` is 3. Returns
 * undefined without that header.
 * @throws {AppError} `invalid` for anything else.
 */
export function expectedVersionOf(request: Request): number | undefined {
  const given = request.headers.get('if-match');
  if (given === null) return undefined;
  const version = /^(?:W\/)?"([1-9][0-9]{0,8})"$/.exec(given.trim())?.[1];
  if (version !== undefined) return Number(version);
  throw invalidField('If-Match', 'If-Match is not a version.', {
    found: given,
    allowed: 'the number of a version in quotes: "3"',
  });
}
