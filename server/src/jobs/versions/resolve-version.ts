import { invalidField, notFound } from '../../errors.ts';
import type { Queryable } from '../../store/database/connection.ts';
import { findVersionNumber } from '../../store/jobs/job-versions.ts';

/**
 * Returns the number of the version that a number, tag or channel in a request stands for.
 * @param path of the field that names it.
 * @throws {AppError} `invalid`, naming the field, if the job has no such version.
 */
export async function resolveVersion(
  sql: Queryable,
  jobId: number,
  reference: number | string,
  path = 'version',
): Promise<number> {
  const version = await findVersionNumber(sql, jobId, readReference(reference));
  if (version !== undefined) return version;
  throw invalidField(path, 'The job has no version with this number or name.', {
    found: String(reference),
    allowed: 'the number of a version, or a tag or channel of the job',
  });
}

/**
 * The same for a part of the address.
 * @throws {AppError} `not_found`.
 */
export async function versionAt(sql: Queryable, jobId: number, reference: string): Promise<number> {
  const version = await findVersionNumber(sql, jobId, readReference(reference));
  if (version === undefined) throw notFound(`Version ${reference} of the job`);
  return version;
}

/** In an address, a number arrives as text. No tag or channel consists of digits alone. */
function readReference(reference: number | string): number | string {
  if (typeof reference === 'number' || !/^[0-9]+$/.test(reference)) return reference;
  // A number beyond any version names none.
  return Math.min(Number(reference), 2_147_483_647);
}
