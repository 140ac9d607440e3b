import { createHash, randomBytes } from 'node:crypto';

/** What unfinished files begin with, on both sides. Never transferred, and never deleted as extraneous. */
export const temporaryPrefix = '.opsconductor-';

/** The same for the same key, so that a later try finds what an earlier one left. */
export function temporaryName(resumeKey: string | undefined): string {
  const tail =
    resumeKey === undefined
      ? randomBytes(10).toString('hex')
      : createHash('sha256').update(resumeKey).digest('hex').slice(0, 20);
  return `${temporaryPrefix}${tail}`;
}
