// The existing jobs that imports are compared with.

import { createHash } from 'node:crypto';
import { canonicalJson, type JobDefinition } from '@opsconductor/protocol';
import type { Caller } from '../../../caller.ts';
import type { MasterKey } from '../../../credentials/at-rest/master-key.ts';
import { whyUnreadableHere } from '../../../runs/why-unreadable.ts';
import type { Queryable } from '../../../store/database/connection.ts';
import { type BundledJobRow, findJobsNamed, readDefinitions } from '../../../store/jobs/job-bundles.ts';

import { openDefinition } from '../../definition/seal-definition.ts';
import type { ExistingJob } from './decide-item.ts';

/** Returns the jobs that have one of the names, keyed by name. */
export async function existingJobs(
  { sql, masterKey }: { sql: Queryable; masterKey: MasterKey },
  names: readonly string[],
  caller: Caller,
): Promise<Map<string, ExistingJob>> {
  const rows = await findJobsNamed(sql, names);
  const { authority } = caller;
  const isOurs = ({ categoryId }: BundledJobRow) =>
    authority.holdsOnCategory('read', categoryId) && authority.holdsOnCategory('jobs.edit', categoryId);
  const definitions = new Map<number, JobDefinition>();
  const unopened = new Map<number, string>();
  for (const row of await readDefinitions(sql, rows.filter(isOurs))) {
    try {
      definitions.set(row.jobId, openDefinition(masterKey, row.jobId, row.version, row));
    } catch (error) {
      unopened.set(row.jobId, whyUnreadableHere('Its definition', error));
    }
  }
  return new Map(
    rows.map((row): [string, ExistingJob] => {
      const definition = definitions.get(row.id) ?? { name: row.name, steps: [] };
      return [row.name, { row, definition, isOurs: isOurs(row), unopened: unopened.get(row.id) }];
    }),
  );
}

/** Returns a digest of everything that an import compares: if it differs, the job has changed. */
export function baseOf(row: BundledJobRow): string {
  return createHash('sha256').update(canonicalJson(row)).digest('base64url');
}
