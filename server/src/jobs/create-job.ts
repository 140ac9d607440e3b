import type { Job } from '@opsconductor/protocol';
import { recordAudit } from '../audit/record-audit.ts';
import { auditedBy, type Caller } from '../caller.ts';
import type { MasterKey } from '../credentials/at-rest/master-key.ts';
import { AppError } from '../errors.ts';
import { type Sql, violatedConstraint } from '../store/connection.ts';
import { insertJobVersion } from '../store/job-versions.ts';
import { insertJob, nextJobId } from '../store/jobs.ts';
import { inTransaction } from '../store/transaction.ts';
import { unrestricted } from '../store/visibility.ts';
import { categoryForJobs } from './category-for-jobs.ts';
import { getJob } from './list-jobs.ts';
import { requireCredentialUse } from './require-credential-use.ts';
import { encodeDefinition, maxDefinitionBytes, sealNewDefinition } from './seal-definition.ts';
import { stepRulesOf } from './step-rules.ts';
import { validateDefinition } from './validate-definition.ts';

const firstVersion = 1;

/**
 * Saves a new job as version 1 of its definition, in the category that it names. The category is kept beside the
 * version: it may change without another one.
 *
 * @throws {AppError} `invalid` with everything that is wrong with it; `too_large`; `conflict` when the name is taken;
 * `forbidden` without `jobs.edit` on the category, or `credentials.use` on a credential that it names.
 */
export async function createJob(
  deps: { sql: Sql; masterKey: MasterKey },
  request: unknown,
  caller: Caller,
): Promise<Job> {
  const { category: categoryName, ...definition } = validateDefinition(request);
  const { bytes, checksum } = encodeDefinition(definition);
  if (bytes.length > maxDefinitionBytes) {
    throw new AppError(
      'too_large',
      `The job definition has ${bytes.length} bytes; ${maxDefinitionBytes} are allowed.`,
    );
  }
  const stepTypes = [...new Set(definition.steps.map((step) => step.type))].sort();
  const jobId = await inTransaction(deps.sql, async (tx) => {
    const category = await categoryForJobs(tx, categoryName, caller);
    await requireCredentialUse(tx, caller, definition);
    const id = await nextJobId(tx);
    const { dataKey, definition: sealed } = sealNewDefinition(deps.masterKey, id, firstVersion, bytes);
    await insertJob(tx, {
      id,
      name: definition.name,
      description: definition.description ?? '',
      categoryId: category.id,
      stepTypes,
      stepCount: definition.steps.length,
      dataKey,
      createdBy: caller.userId,
    });
    await insertJobVersion(tx, {
      jobId: id,
      version: firstVersion,
      definition: sealed,
      checksum,
      stepNames: definition.steps.map((step) => step.name),
      stepTypes: definition.steps.map((step) => step.type),
      stepCredentials: definition.steps.map(
        (step) => step.connection?.credential ?? definition.connection?.credential ?? null,
      ),
      stepRules: stepRulesOf(definition),
      createdBy: caller.userId,
    });
    await recordAudit(tx, {
      ...auditedBy(caller),
      action: 'job.created',
      object: { kind: 'job', id },
      scope: { categoryId: category.id },
      detail: {
        name: definition.name,
        category: category.name,
        version: firstVersion,
        checksum: checksum.toString('hex'),
      },
    });
    return id;
  }).catch((error) => {
    throw nameTaken(error, definition.name);
  });
  return getJob(deps, jobId, unrestricted);
}

function nameTaken(error: unknown, name: string): unknown {
  if (violatedConstraint(error) !== 'jobs_name_key') return error;
  const message = `There is a job named ${name} already; choose another name.`;
  return new AppError('conflict', message, { cause: error, details: [{ path: 'name', message }] });
}
