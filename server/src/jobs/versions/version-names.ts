// Tags, which never move, and channels, which do. Both name versions and share one set of names.
import { limits, type VersionName, type VersionNameKind } from '@opsconductor/protocol';
import { recordAudit } from '../../audit/record-audit.ts';
import { auditedBy, type Caller } from '../../caller.ts';
import { AppError, invalidField, notFound } from '../../errors.ts';
import type { Sql } from '../../store/database/connection.ts';
import { inTransaction } from '../../store/database/transaction.ts';
import {
  countVersionNames,
  deleteVersionName,
  findVersionName,
  findVersionNumber,
  listVersionNames,
  putVersionName,
} from '../../store/jobs/job-versions.ts';
import { editableJob } from '../editable-job.ts';

/**
 * Gives a version a tag, or sets a channel to it. A tag that already names the version stays unchanged.
 * @throws {AppError} `not_found`; `invalid` for a version that does not exist; `conflict` for a tag of another version,
 * a name of the other kind, or one name too many.
 */
export async function setVersionName(
  sql: Sql,
  jobId: number,
  { name, kind, version }: { name: string; kind: VersionNameKind; version: number },
  caller: Caller,
): Promise<VersionName> {
  await inTransaction(sql, async (tx) => {
    const job = await editableJob(tx, jobId, caller);
    if ((await findVersionNumber(tx, jobId, version)) === undefined) {
      throw invalidField('version', 'The job has no such version.', {
        found: String(version),
        allowed: `1 to ${job.version}`,
      });
    }
    const before = await findVersionName(tx, jobId, name);
    refuseTaken(name, kind, version, before);
    if (before?.version === version) return;
    if (before === undefined && (await countVersionNames(tx, jobId)) >= limits.maxNamesPerJob) {
      throw new AppError(
        'conflict',
        `A job can have at most ${limits.maxNamesPerJob} tags and channels: delete some.`,
      );
    }
    await putVersionName(tx, { jobId, name, kind, version, setBy: caller.userId });
    await recordAudit(tx, {
      ...auditedBy(caller),
      action: kind === 'tag' ? 'job.tagged' : 'job.channel_set',
      object: { kind: 'job', id: jobId },
      scope: { categoryId: job.categoryId },
      detail: {
        name: job.name,
        [kind]: name,
        version,
        ...(before === undefined ? {} : { from: before.version }),
      },
    });
  });
  const set = (await listVersionNames(sql, jobId)).find((one) => one.name === name);
  if (set === undefined) throw new AppError('conflict', `“${name}” has just been deleted.`);
  return set;
}

function refuseTaken(
  name: string,
  kind: VersionNameKind,
  version: number,
  before: { kind: VersionNameKind; version: number } | undefined,
): void {
  if (before === undefined) return;
  if (before.kind !== kind) {
    throw new AppError(
      'conflict',
      `“${name}” is a ${before.kind} of version ${before.version}; choose another name.`,
    );
  }
  if (kind === 'tag' && before.version !== version) {
    throw new AppError(
      'conflict',
      `Tag “${name}” names version ${before.version}, and a tag never moves: use another tag, or a channel.`,
    );
  }
}

/** @throws {AppError} `not_found` for the job, or if it has no such name; `conflict` for a name of the other kind. */
export async function removeVersionName(
  sql: Sql,
  jobId: number,
  { name, kind }: { name: string; kind: VersionNameKind },
  caller: Caller,
): Promise<void> {
  await inTransaction(sql, async (tx) => {
    const job = await editableJob(tx, jobId, caller);
    const before = await findVersionName(tx, jobId, name);
    if (before === undefined) throw notFound(kind === 'tag' ? 'Tag' : 'Channel');
    if (before.kind !== kind) throw new AppError('conflict', `“${name}” is a ${before.kind}, not a ${kind}.`);
    await deleteVersionName(tx, jobId, name);
    await recordAudit(tx, {
      ...auditedBy(caller),
      action: kind === 'tag' ? 'job.untagged' : 'job.channel_removed',
      object: { kind: 'job', id: jobId },
      scope: { categoryId: job.categoryId },
      detail: { name: job.name, [kind]: name, version: before.version },
    });
  });
}
