// Creates a job: from its bare definition, from a definition with a state and a note, or from a template.
import {
  type CreatedJob,
  CreateJobFromDefinitionSchema,
  CreateJobFromTemplateSchema,
  type DefinitionProblem,
  type JobDefinition,
  type JobState,
} from '@opsconductor/protocol';
import { recordAudit } from '../audit/record-audit.ts';
import { auditedBy, type Caller } from '../caller.ts';
import type { MasterKey } from '../credentials/at-rest/master-key.ts';
import { loadSiteRules } from '../site-rules/site-rules.ts';
import type { Sql, Tx } from '../store/database/connection.ts';
import { inTransaction } from '../store/database/transaction.ts';
import { insertJobVersion } from '../store/jobs/job-versions.ts';
import { insertJob, nextJobId } from '../store/jobs/jobs.ts';
import { unrestricted } from '../store/people/visibility.ts';
import { checkEnvelope } from './checks/check-envelope.ts';
import { requireCredentialUse, unknownCredentials } from './checks/require-credential-use.ts';
import { requireDefinition, withAllProblems } from './checks/require-definition.ts';
import { requireRawSplice } from './checks/require-raw-splice.ts';
import { unknownFiles } from './checks/unknown-files.ts';
import { sealNewDefinition } from './definition/seal-definition.ts';
import {
  clearColumnsOf,
  encodeWithinLimit,
  splitDefinition,
  stepTypesOf,
} from './definition/split-definition.ts';
import { fillTemplate } from './fill-template.ts';
import { getJob } from './list-jobs.ts';
import { nameTaken } from './name-taken.ts';
import { categoryForJobs } from './settings/category-for-jobs.ts';

const firstVersion = 1;

interface CreateJobDeps {
  sql: Sql;
  masterKey: MasterKey;
}

/** A definition to save as a job, and what comes with it. */
export interface NewJobRequest {
  definition: JobDefinition;
  state?: JobState | undefined;
  note?: string | undefined;
  madeFrom?: { jobId: number; version: number; name: string } | undefined;
}

/**
 * Saves a new job as version 1 of its definition, in the category that it names. Category, labels and template are
 * stored with the job, not with the version: they may change without a new one.
 * @throws {AppError} `invalid` with all its problems, or the site rules that it breaks; `too_large`; `conflict` if the
 * name is taken; `forbidden` without `jobs.edit` on the category, `credentials.use` on a credential that it names, or
 * `jobs.raw_splice` if it has a raw splice; `not_found` for a template that the caller does not see.
 */
export async function createJob(deps: CreateJobDeps, request: unknown, caller: Caller): Promise<CreatedJob> {
  const asked = await readRequest(deps, request, caller);
  const { id, warnings } = await inTransaction(deps.sql, (tx) =>
    insertNewJob(tx, deps.masterKey, asked, caller),
  ).catch((error) => {
    const refusal = nameTaken(error, asked.definition.name);
    return withAllProblems(deps.sql, refusal, asked.definition, { note: asked.note }, caller);
  });
  const job = await getJob(deps, id, unrestricted, caller.authority.reach('read'));
  return warnings.length === 0 ? job : { ...job, warnings };
}

async function readRequest(deps: CreateJobDeps, request: unknown, caller: Caller): Promise<NewJobRequest> {
  const has = (name: string) => Object.hasOwn(Object(request), name);
  const checked = (definition: unknown) => requireDefinition(deps.sql, definition, undefined, caller);
  if (has('from_template')) {
    const { state, note, ...filled } = checkEnvelope(CreateJobFromTemplateSchema, request);
    const { definition, madeFrom } = await fillTemplate(deps, filled, caller);
    return { definition: await checked(definition), state, note, madeFrom };
  }
  if (has('definition') && !has('steps')) {
    const { definition, ...rest } = checkEnvelope(CreateJobFromDefinitionSchema, request);
    return { ...rest, definition: await checked(definition) };
  }
  return { definition: await checked(request) };
}

/**
 * Inserts a job whose definition is valid, with its audit row.
 * @throws {AppError} as `createJob`; a database error of the constraint `jobs_name_key` if the name is taken.
 */
async function insertNewJob(
  tx: Tx,
  masterKey: MasterKey,
  { definition, state = 'active', note = '', madeFrom }: NewJobRequest,
  caller: Caller,
): Promise<{ id: number; warnings: DefinitionProblem[] }> {
  const { stored, settings } = splitDefinition(definition);
  const { bytes, checksum } = encodeWithinLimit(stored);
  const category = await categoryForJobs(tx, settings.category, caller);
  await requireCredentialUse(tx, caller, stored);
  requireRawSplice(caller, category, stored);
  const rules = await loadSiteRules(tx);
  const labels = settings.labels ?? {};
  const broken = rules.refuseBroken({
    definition: { ...definition, category: category.name, labels },
    note,
  });
  const id = await nextJobId(tx);
  const { dataKey, definition: sealed } = sealNewDefinition(masterKey, id, firstVersion, bytes);
  await insertJob(tx, {
    id,
    name: stored.name,
    description: stored.description ?? '',
    categoryId: category.id,
    stepTypes: stepTypesOf(stored),
    stepCount: stored.steps.length,
    dataKey,
    createdBy: caller.userId,
    state,
    labels,
    isTemplate: settings.isTemplate ?? false,
    madeFrom: madeFrom === undefined ? null : { jobId: madeFrom.jobId, version: madeFrom.version },
  });
  await insertJobVersion(tx, {
    jobId: id,
    version: firstVersion,
    definition: sealed,
    checksum,
    ...clearColumnsOf(stored),
    note,
    restores: null,
    createdBy: caller.userId,
  });
  await recordAudit(tx, {
    ...auditedBy(caller),
    action: 'job.created',
    object: { kind: 'job', id },
    scope: { categoryId: category.id },
    detail: {
      name: stored.name,
      category: category.name,
      version: firstVersion,
      checksum: checksum.toString('hex'),
      ...(state === 'active' ? {} : { state }),
      ...(note === '' ? {} : { note }),
      ...(madeFrom === undefined ? {} : { template: { id: madeFrom.jobId, version: madeFrom.version } }),
    },
  });
  const warnings = [
    ...(await unknownCredentials(tx, caller, stored)),
    ...(await unknownFiles(tx, category.name, stored)),
    ...broken,
  ];
  return { id, warnings };
}
