import type { RollBackRequest, SaveJobReply } from '@opsconductor/protocol';
import type { Caller } from '../../caller.ts';
import { AppError } from '../../errors.ts';
import { loadSiteRules } from '../../site-rules/site-rules.ts';
import { inTransaction } from '../../store/database/transaction.ts';
import { unrestricted } from '../../store/people/visibility.ts';
import { validateDefinition } from '../definition/validate-definition.ts';
import { editableJob } from '../editable-job.ts';
import { getJob } from '../list-jobs.ts';
import { nameTaken } from '../name-taken.ts';
import { loadJobVersion } from './load-job-version.ts';
import { resolveVersion } from './resolve-version.ts';
import { refuseArchived, refuseStale, type SaveJobDeps, saveVersion } from './save-job.ts';

/**
 * Restores an earlier version as a new one, byte for byte, so that it renders exactly as before. Category, labels,
 * template and state stay unchanged.
 * @throws {AppError} `invalid` if it is not valid under today's rules, with the problems, or does not exist; `conflict`
 * if it is current already, its name is taken by now, or another version than the expected one is current; otherwise as
 * a save.
 */
export async function rollBack(
  deps: SaveJobDeps,
  id: number,
  { version: reference, expectedVersion, note = '' }: RollBackRequest,
  caller: Caller,
): Promise<SaveJobReply> {
  let name = '';
  const done = await inTransaction(deps.sql, async (tx) => {
    const job = await editableJob(tx, id, caller);
    refuseArchived(job);
    const restores = await resolveVersion(tx, id, reference);
    if (expectedVersion !== undefined) {
      await refuseStale({ sql: tx, masterKey: deps.masterKey }, job, {
        version: expectedVersion,
        namedBy: 'expectedVersion',
      });
    }
    const { definition: stored } = await loadJobVersion({ sql: tx, masterKey: deps.masterKey }, id, restores);
    refuseUnrestorable(restores, 'is not valid under today’s rules', 'Edit the job instead.', () =>
      validateDefinition(stored),
    );
    name = stored.name;
    const version = await saveVersion(tx, deps.masterKey, { job, stored, note, restores }, caller);
    if (version === undefined) {
      throw new AppError(
        'conflict',
        `Version ${restores} is the same as the current version ${job.version}.`,
      );
    }
    const { category, labels } = job;
    const rules = await loadSiteRules(tx);
    const held = { definition: { ...stored, category, labels }, note };
    const warnings = refuseUnrestorable(
      restores,
      'breaks what site rules ask of jobs by now',
      'Edit the job instead, or ask somebody who may change site rules (with the permission site_rules.edit).',
      () => rules.refuseBroken(held),
    );
    return { version, restores, warnings };
  }).catch((error) => {
    throw nameTaken(error, name);
  });
  const job = await getJob(deps, id, unrestricted, caller.authority.reach('read'));
  return {
    job,
    isNewVersion: true,
    message: `Version ${done.restores} is back, as version ${done.version}.`,
    ...(done.warnings.length === 0 ? {} : { warnings: done.warnings }),
  };
}

/**
 * Adds to a refusal that the version itself can't be corrected, and what to do instead. What was valid when it was saved
 * may be invalid now.
 */
function refuseUnrestorable<T>(version: number, why: string, instead: string, check: () => T): T {
  try {
    return check();
  } catch (error) {
    if (!(error instanceof AppError) || error.code !== 'invalid') throw error;
    const reason = /[.!?]$/.test(error.message) ? error.message : `${error.message}.`;
    const message = `Version ${version} ${why}, so it can’t be restored unchanged: ${reason} ${instead}`;
    throw new AppError('invalid', message, { cause: error, details: error.details });
  }
}
