// A refused save reports everything that is wrong with a definition, whichever check fails first.
import { type ErrorDetail, type JobDefinition, maxDefinitionProblems } from '@opsconductor/protocol';
import type { Caller } from '../../caller.ts';
import { AppError } from '../../errors.ts';
import { siteRuleDetail } from '../../site-rules/site-rules.ts';
import type { Sql, Tx } from '../../store/database/connection.ts';
import { inTransaction } from '../../store/database/transaction.ts';
import { examineInTurn } from '../definition/examine-in-turn.ts';
import { refuseDefinition } from '../definition/validate-definition.ts';
import { findEditableJob } from '../editable-job.ts';
import { problemsOfNamesIn, problemsOfPlace } from './problems-of-place.ts';

/**
 * Checks a definition that is about to be saved and returns it with defaults filled in.
 * @param jobId the job that it is saved to; undefined for a new one.
 * @throws {AppError} `invalid`, with a detail for each place that is wrong in itself, or that names something that does
 * not exist or may not be used; `not_found` and `forbidden` for the job.
 */
export async function requireDefinition(
  sql: Sql,
  value: unknown,
  jobId: number | undefined,
  caller: Caller,
): Promise<JobDefinition> {
  const { definition, problems } = await examineInTurn(caller.userId, value);
  if (problems.length > 0) {
    const named = await inTransaction(sql, async (tx) => {
      const place = { job: await jobOf(tx, jobId, caller), note: '' };
      return problemsOfNamesIn(tx, definition, problems, place, caller);
    });
    refuseDefinition([...problems, ...named]);
  }
  return definition as JobDefinition;
}

/** For the refused save of a valid definition: throws the refusal, with all other problems added to its details. */
export async function withAllProblems(
  sql: Sql,
  refusal: unknown,
  definition: JobDefinition,
  { jobId, note = '' }: { jobId?: number; note?: string | undefined },
  caller: Caller,
): Promise<never> {
  if (!(refusal instanceof AppError) || refusal.details.length === 0 || refusal.conflict !== undefined)
    throw refusal;
  const problems = await inTransaction(sql, async (tx) =>
    problemsOfPlace(tx, definition, { job: await jobOf(tx, jobId, caller), note }, caller),
  );
  const all = problems
    .filter(({ severity }) => severity === 'error')
    .map(({ severity: _, rule, ...detail }) =>
      rule === undefined ? detail : siteRuleDetail({ ...detail, severity: 'error', rule }),
    );
  refusal.details = [...refusal.details, ...all.filter(isNew(refusal.details))].slice(
    0,
    maxDefinitionProblems,
  );
  throw refusal;
}

function isNew(told: readonly ErrorDetail[]): (detail: ErrorDetail) => boolean {
  const keys = new Set(told.map(({ path, message }) => `${path}\n${message}`));
  return ({ path, message }) => !keys.has(`${path}\n${message}`);
}

async function jobOf(tx: Tx, jobId: number | undefined, caller: Caller) {
  return jobId === undefined ? undefined : findEditableJob(tx, jobId, caller);
}
