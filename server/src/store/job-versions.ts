import type { StepRules } from '../jobs/step-rules.ts';
import type { Queryable, Tx } from './connection.ts';

export interface JobVersionRow {
  /** Canonical JSON, sealed under the job's data key. */
  definition: Buffer;
  /** SHA-256 of the canonical JSON. */
  checksum: Buffer;
  /** Of the job, wrapped by the master key. */
  dataKey: string;
}

export async function insertJobVersion(
  tx: Tx,
  version: {
    jobId: number;
    version: number;
    definition: Buffer;
    checksum: Buffer;
    stepNames: string[];
    stepTypes: string[];
    /** Name of the credential that each step asks for. */
    stepCredentials: (string | null)[];
    /** What attempts of its steps are settled by; null where no step has rules of its own. */
    stepRules: readonly StepRules[] | null;
    createdBy: number;
  },
): Promise<void> {
  await tx`
    insert into job_versions (job_id, version, definition, checksum, step_names, step_types, step_credentials,
      step_rules, created_by)
    values (${version.jobId}, ${version.version}, ${version.definition}, ${version.checksum}, ${version.stepNames},
            ${version.stepTypes},
            ${version.stepCredentials.some((name) => name !== null) ? version.stepCredentials : null}::text[],
            ${version.stepRules === null ? null : tx.json(version.stepRules as never)}, ${version.createdBy})`;
}

export async function findJobVersion(
  sql: Queryable,
  jobId: number,
  version: number,
): Promise<JobVersionRow | undefined> {
  const [row] = await sql<JobVersionRow[]>`
    select v.definition, v.checksum, j.data_key
      from job_versions v join jobs j on j.id = v.job_id
     where v.job_id = ${jobId} and v.version = ${version}`;
  return row;
}
