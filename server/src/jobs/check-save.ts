// Whether a definition could be saved, and what would be said of it, without saving it: the checks of a save and their
// words.
import {
  type DefinitionProblem,
  type ErrorDetail,
  effectiveDefinition,
  generalCategory,
  type JobDefinition,
  maxDefinitionProblems,
  type ValidateJobReply,
  ValidateJobRequestSchema,
} from '@opsconductor/protocol';
import type { Caller } from '../caller.ts';
import { AppError } from '../errors.ts';
import { loadSiteRules } from '../site-rules/site-rules.ts';
import type { Sql, Tx } from '../store/database/connection.ts';
import { inTransaction } from '../store/database/transaction.ts';
import { findJobNamed } from '../store/jobs/jobs.ts';
import { categoryForJobs } from './category-for-jobs.ts';
import { checkEnvelope } from './check-envelope.ts';
import { takenName } from './create-job.ts';
import { findEditableJob } from './editable-job.ts';
import { requireCredentialUse } from './require-credential-use.ts';
import { requireRawSplice } from './require-raw-splice.ts';
import { encodeWithinLimit, splitDefinition } from './split-definition.ts';
import { examineDefinition } from './validate-definition.ts';

interface Asked {
  definition: unknown;
  jobId?: number | undefined;
  note?: string | undefined;
}

/**
 * @throws {AppError} `invalid` for what stands around the definition; `not_found` and `forbidden` for a job that the
 * caller may not see or change.
 */
export async function checkSave(sql: Sql, request: unknown, caller: Caller): Promise<ValidateJobReply> {
  const { definition: given, jobId, note = '' } = readRequest(request);
  const { definition, problems } = examineDefinition(given);
  const errors = problems.slice(0, maxDefinitionProblems).map(asError);
  const valid = problems.length === 0;
  const more = await inTransaction(sql, async (tx) => {
    const job = jobId === undefined ? undefined : await findEditableJob(tx, jobId, caller);
    return valid ? problemsThere(tx, definition as JobDefinition, { job, note }, caller) : [];
  });
  const all = [...errors, ...more];
  return {
    valid: !all.some(({ severity }) => severity === 'error'),
    problems: all,
    ...(valid ? effectiveDefinition(definition as JobDefinition) : { definition: null, defaults: [] }),
  };
}

function readRequest(request: unknown): Asked {
  const has = (name: string) => Object.hasOwn(Object(request), name);
  return has('definition') && !has('steps')
    ? checkEnvelope(ValidateJobRequestSchema, request)
    : { definition: request };
}

interface There {
  job: Awaited<ReturnType<typeof findEditableJob>> | undefined;
  note: string;
}

/** What stands against a definition that is right in itself: its size, name, category, rights, the site rules. */
async function problemsThere(
  tx: Tx,
  definition: JobDefinition,
  { job, note }: There,
  caller: Caller,
): Promise<DefinitionProblem[]> {
  const { stored, settings } = splitDefinition(definition);
  const category = settings.category ?? job?.category ?? generalCategory.name;
  const labels = settings.labels ?? job?.labels ?? {};
  const found = [
    await refusalOf('', () => encodeWithinLimit(stored)),
    await refusalOf('name', async () => {
      const holder = await findJobNamed(tx, stored.name);
      if (holder !== undefined && holder !== job?.id) throw takenName(stored.name);
    }),
    await refusalOf('category', async () => {
      const isMoved = category !== job?.category;
      const to = isMoved ? await categoryForJobs(tx, category, caller) : undefined;
      // As a save does: a version is that of the job where it lies, and moves with it.
      const place = job === undefined ? to : { id: job.categoryId, name: job.category };
      if (place !== undefined) requireRawSplice(caller, place, stored);
    }),
    await refusalOf('', () => requireCredentialUse(tx, caller, stored)),
  ];
  const rules = await loadSiteRules(tx);
  const ruled = rules.problems({ definition: { ...definition, category, labels }, note });
  return [...found.flat().map(asError), ...ruled];
}

/** What a check of a save refuses with, as details. */
async function refusalOf(path: string, check: () => unknown): Promise<readonly ErrorDetail[]> {
  try {
    await check();
    return [];
  } catch (error) {
    if (!(error instanceof AppError) || error.code === 'internal') throw error;
    return error.details.length > 0 ? error.details : [{ path, message: error.message }];
  }
}

function asError(detail: ErrorDetail): DefinitionProblem {
  return { ...detail, severity: 'error' };
}
