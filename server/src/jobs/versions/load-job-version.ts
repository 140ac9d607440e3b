import type { JobDefinition } from '@opsconductor/protocol';
import type { MasterKey } from '../../credentials/at-rest/master-key.ts';
import { notFound } from '../../errors.ts';
import type { Queryable } from '../../store/database/connection.ts';
import { findJobVersion } from '../../store/jobs/job-versions.ts';
import { openDefinition } from '../definition/seal-definition.ts';

export interface JobVersion {
  /** With defaults filled in. Shared by all who load it, so it must not be changed. */
  definition: JobDefinition;
  /** Configuration of each step, by its number minus one. */
  stepConfigs: readonly unknown[];
  /** SHA-256 of the definition as stored, in hex. */
  checksum: string;
}

const maxCachedVersions = 500;
/** Opened versions in the order of their last use, for each master key that this process holds. */
const caches = new WeakMap<MasterKey, Map<string, JobVersion>>();

/**
 * Opens a version of a job. Versions are immutable and ids are never reused, so versions that were opened before come
 * from memory. It must not be called inside the transaction that creates the version: a rollback would leave it in
 * memory.
 * @throws {AppError} `not_found`; an `AtRestError` for a row that was altered.
 */
export async function loadJobVersion(
  deps: { sql: Queryable; masterKey: MasterKey },
  jobId: number,
  version: number,
): Promise<JobVersion> {
  const cache = cacheOf(deps.masterKey);
  const key = `${jobId}.${version}`;
  const known = cache.get(key);
  if (known !== undefined) {
    cache.delete(key);
    cache.set(key, known);
    return known;
  }
  const row = await findJobVersion(deps.sql, jobId, version);
  if (row === undefined) throw notFound(`Version ${version} of job ${jobId}`);
  const definition = openDefinition(deps.masterKey, jobId, version, row);
  const opened = {
    definition,
    stepConfigs: definition.steps.map((step) => step.config),
    checksum: row.checksum.toString('hex'),
  };
  cache.set(key, opened);
  const oldest = cache.keys().next().value;
  if (cache.size > maxCachedVersions && oldest !== undefined) cache.delete(oldest);
  return opened;
}

function cacheOf(masterKey: MasterKey): Map<string, JobVersion> {
  const cache = caches.get(masterKey) ?? new Map<string, JobVersion>();
  caches.set(masterKey, cache);
  return cache;
}
