// Saves a job: each change of its definition is a new, immutable version.
import {
  compareDefinitions,
  type JobDefinition,
  type SaveConflict,
  type SaveJobReply,
  SaveJobRequestSchema,
} from '@opsconductor/protocol';
import { recordAudit } from '../../audit/record-audit.ts';
import { auditedBy, type Caller } from '../../caller.ts';
import {
  type ExpectedVersion,
  namingOf,
  refuseAhead,
  requireExpectedVersion,
} from '../../conflicts/expected-version.ts';
import type { MasterKey } from '../../credentials/at-rest/master-key.ts';
import { AppError } from '../../errors.ts';
import { refuseNewlyBroken } from '../../site-rules/hold-jobs.ts';
import { loadSiteRules } from '../../site-rules/site-rules.ts';
import type { Sql, Tx } from '../../store/database/connection.ts';
import { inTransaction } from '../../store/database/transaction.ts';
import { findVersionHead, insertJobVersion } from '../../store/jobs/job-versions.ts';
import { dataKeyOfJob, type JobDetailRow, setJobVersion } from '../../store/jobs/jobs.ts';
import { unrestricted } from '../../store/people/visibility.ts';
import { checkEnvelope } from '../checks/check-envelope.ts';
import { requireCredentialUse, unknownCredentials } from '../checks/require-credential-use.ts';
import { requireDefinition, withAllProblems } from '../checks/require-definition.ts';
import { requireRawSplice } from '../checks/require-raw-splice.ts';
import { unknownFiles } from '../checks/unknown-files.ts';
import { sealDefinition } from '../definition/seal-definition.ts';
import {
  clearColumnsOf,
  encodeWithinLimit,
  joinDefinition,
  splitDefinition,
  stepTypesOf,
} from '../definition/split-definition.ts';
import { editableJob } from '../editable-job.ts';
import { getJob } from '../list-jobs.ts';
import { nameTaken } from '../name-taken.ts';
import { categoryForJobs } from '../settings/category-for-jobs.ts';
import { changeSettings } from '../settings/change-settings.ts';
import { loadJobVersion } from './load-job-version.ts';
import { overlappingPaths } from './overlapping-paths.ts';

export interface SaveJobDeps {
  sql: Sql;
  masterKey: MasterKey;
}

/**
 * Saves a definition as a new version, unless it equals the current one. Category, labels and template change if the
 * definition names them.
 * @param ifMatch the version that was changed, if the request's header names it.
 * @throws {AppError} as `createJob`; `conflict` with both sides if the changed version is not the current one;
 * `not_found`.
 */
export async function saveJob(
  deps: SaveJobDeps,
  id: number,
  request: unknown,
  caller: Caller,
  ifMatch?: number,
): Promise<SaveJobReply> {
  const { definition, note = '', expectedVersion: told } = readRequest(request);
  const expected = requireExpectedVersion(told, ifMatch);
  const whole = await requireDefinition(deps.sql, definition, id, caller);
  const { stored, settings } = splitDefinition(whole);
  const done = await inTransaction(deps.sql, async (tx) => {
    const job = await editableJob(tx, id, caller);
    refuseArchived(job);
    await refuseStale({ sql: tx, masterKey: deps.masterKey }, job, expected, stored);
    const version = await saveVersion(tx, deps.masterKey, { job, stored, note, restores: null }, caller);
    // Before its site rules are, which a caller who may not put jobs there is not told of.
    if (settings.category !== undefined && settings.category !== job.category)
      await categoryForJobs(tx, settings.category, caller);
    const { category = job.category, labels = job.labels } = settings;
    const held = { definition: { ...stored, category, labels }, note };
    const broken = version === undefined ? [] : (await loadSiteRules(tx)).refuseBroken(held);
    const warnings = [
      ...(await unknownCredentials(tx, caller, stored)),
      ...(await unknownFiles(tx, category, stored)),
      ...broken,
    ];
    if (version === undefined) await refuseNewlyBroken(tx, deps.masterKey, id, { category, labels });
    const changed = await changeSettings(tx, job, settings, caller);
    return { version, changed, warnings };
  }).catch((error) => {
    const refusal = nameTaken(error, stored.name);
    return withAllProblems(deps.sql, refusal, whole, { jobId: id, note }, caller);
  });
  const job = await getJob(deps, id, unrestricted, caller.authority.reach('read'));
  return {
    job,
    isNewVersion: done.version !== undefined,
    message: messageOf(job.version, done),
    ...(done.warnings.length === 0 ? {} : { warnings: done.warnings }),
  };
}

/** Accepts a bare definition, as for a new job; the version that was changed is then in the header. */
function readRequest(request: unknown): {
  definition: unknown;
  note?: string | undefined;
  expectedVersion?: number | undefined;
} {
  const has = (name: string) => Object.hasOwn(Object(request), name);
  return has('steps') && !has('definition')
    ? { definition: request }
    : checkEnvelope(SaveJobRequestSchema, request);
}

function messageOf(current: number, done: { version: number | undefined; changed: string[] }): string {
  const also = done.changed.length === 0 ? '' : ` Besides: ${done.changed.join(', ')}.`;
  if (done.version !== undefined) return `Saved as version ${done.version}.${also}`;
  return done.changed.length === 0
    ? `Nothing changed: this is version ${current}.`
    : `No new version, as the definition is that of version ${current}.${also}`;
}

/** @throws {AppError} `conflict`. */
export function refuseArchived(job: JobDetailRow): void {
  if (job.state !== 'archived') return;
  throw new AppError('conflict', `Job “${job.name}” is archived: restore it to change it.`);
}

/** A definition to become a job's current one; `restores` is the number of the version that it is a copy of. */
interface NextVersion {
  job: JobDetailRow;
  stored: JobDefinition;
  note: string;
  restores: number | null;
}

/**
 * Stores a valid definition as the next version and makes it the current one; does nothing if it equals the current
 * one. The job must be locked, and the caller allowed to edit it.
 * @returns the number of the new version; undefined if nothing changed.
 */
export async function saveVersion(
  tx: Tx,
  masterKey: MasterKey,
  { job, stored, note, restores }: NextVersion,
  caller: Caller,
): Promise<number | undefined> {
  const { bytes, checksum } = encodeWithinLimit(stored);
  const current = await findVersionHead(tx, job.id, job.version);
  if (current?.checksum === checksum.toString('hex')) return undefined;
  await requireCredentialUse(tx, caller, stored);
  requireRawSplice(caller, { id: job.categoryId, name: job.category }, stored);
  const version = job.version + 1;
  const dataKey = await dataKeyOfJob(tx, job.id);
  await insertJobVersion(tx, {
    jobId: job.id,
    version,
    definition: sealDefinition(masterKey, job.id, version, { dataKey, bytes }),
    checksum,
    ...clearColumnsOf(stored),
    note,
    restores,
    createdBy: caller.userId,
  });
  await setJobVersion(tx, job.id, {
    version,
    name: stored.name,
    description: stored.description ?? '',
    stepTypes: stepTypesOf(stored),
    stepCount: stored.steps.length,
    updatedBy: caller.userId,
  });
  await recordAudit(tx, {
    ...auditedBy(caller),
    action: restores === null ? 'job.saved' : 'job.rolled_back',
    object: { kind: 'job', id: job.id },
    scope: { categoryId: job.categoryId },
    detail: {
      name: stored.name,
      ...(stored.name === job.name ? {} : { formerName: job.name }),
      version,
      checksum: checksum.toString('hex'),
      ...(restores === null ? {} : { restores }),
      ...(note === '' ? {} : { note }),
    },
  });
  return version;
}

/**
 * Refuses a save that was based on another version than the current one, and reports what both sides changed.
 * @throws {AppError} `conflict`; `invalid` for a version that does not exist yet.
 */
export async function refuseStale(
  deps: { sql: Tx; masterKey: MasterKey },
  job: JobDetailRow,
  expected: ExpectedVersion,
  yours?: JobDefinition,
): Promise<void> {
  const expectedVersion = expected.version;
  if (expectedVersion === job.version) return;
  refuseAhead(expected, job.version, `The job’s newest version is ${job.version}.`);
  const head = await findVersionHead(deps.sql, job.id, job.version);
  const base = (await loadJobVersion(deps, job.id, expectedVersion)).definition;
  const theirs = (await loadJobVersion(deps, job.id, job.version)).definition;
  const theirChanges = compareDefinitions(base, theirs);
  const yourChanges = yours === undefined ? [] : compareDefinitions(base, yours);
  const conflict: SaveConflict = {
    expectedVersion,
    theirs: {
      version: job.version,
      createdBy: head?.createdBy ?? 'deleted user',
      createdAt: (head?.createdAt ?? job.updatedAt).toISOString(),
      note: head?.note ?? '',
      definition: joinDefinition(theirs, job),
    },
    theirChanges,
    yourChanges,
    overlapping: overlappingPaths(theirChanges, yourChanges),
  };
  throw new AppError(
    'conflict',
    `${conflict.theirs.createdBy} saved version ${job.version} since you opened version ${expectedVersion}. Look at what both changed, then save again with ${namingOf(expected, job.version)}.`,
    { conflict },
  );
}
