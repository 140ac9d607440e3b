import { createHash, randomBytes } from 'node:crypto';

/** Prefix of unfinished files on both sides. They are never transferred, and never deleted as extraneous. */
export const temporaryPrefix = '.opsconductor-';

/**
 * Returns a name that is always the same for a key, so that a later try finds what an earlier one left; else random.
 */
export function temporaryName(resumeKey: string | undefined): string {
  const tail =
    resumeKey === undefined
      ? randomBytes(10).toString('hex')
      : createHash('sha256').update(resumeKey).digest('hex').slice(0, 20);
  return `${temporaryPrefix}${tail}`;
}
