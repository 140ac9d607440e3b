// Writes jobs as a bundle while they are read. Each is as it was when the export began, because versions never change.
import { setImmediate } from 'node:timers/promises';
import { type BundledJob, type ExportJobsQuery, limits } from '@opsconductor/protocol';
import type { Reach } from '../../auth/authority.ts';
import type { MasterKey } from '../../credentials/at-rest/master-key.ts';
import { AppError, invalidField } from '../../errors.ts';
import { whyUnreadableHere } from '../../runs/why-unreadable.ts';
import type { Queryable } from '../../store/database/connection.ts';
import {
  type BundledJobRow,
  type DefinitionRow,
  readDefinitions,
  selectJobsToExport,
} from '../../store/jobs/job-bundles.ts';
import { refuseUnstorableText } from '../../validation/storable-text.ts';
import { openDefinition } from '../definition/seal-definition.ts';
import { joinDefinition } from '../definition/split-definition.ts';
import { readJobFilter } from '../list-jobs.ts';
import { bundleWriter } from './write-bundle.ts';

const jobsAtATime = 100;

export interface ExportDeps {
  sql: Queryable;
  masterKey: MasterKey;
}

/**
 * Exports the jobs within the reaches that are named, or that match the filters, sorted by name.
 * @throws {AppError} `invalid` for both ids and filters, ids that the caller does not see, or more jobs than a bundle
 * may have.
 */
export async function exportJobs(
  deps: ExportDeps,
  { ids: list, format = 'yaml', ...query }: ExportJobsQuery,
  reaches: readonly Reach[],
): Promise<AsyncGenerator<string>> {
  refuseUnstorableText(query, 'query');
  const ids = list === undefined ? undefined : readIds(list, query);
  const selection = ids === undefined ? { filter: readJobFilter(query) } : { ids };
  const jobs = await selectJobsToExport(deps.sql, selection, reaches, limits.maxJobsPerBundle);
  if (jobs.length > limits.maxJobsPerBundle) {
    throw new AppError(
      'invalid',
      `More than ${limits.maxJobsPerBundle} jobs match, which is the most for one file; narrow the filter.`,
    );
  }
  const found = new Set(jobs.map(({ id }) => id));
  const missing = ids?.find((id) => !found.has(id));
  if (missing !== undefined) {
    throw invalidField('query.ids', 'There is no such job.', { found: String(missing) });
  }
  return write(deps, jobs, format);
}

function readIds(list: string, filters: object): number[] {
  const other = Object.keys(filters)[0];
  if (other !== undefined)
    throw invalidField(`query.${other}`, 'Say which jobs: give either ids or filters.');
  const ids = [...new Set(list.split(',').map(Number))];
  if (ids.length <= limits.maxExportedIds) return ids;
  throw invalidField('query.ids', `More than ${limits.maxExportedIds} ids; use filters.`);
}

async function* write(
  { sql, masterKey }: ExportDeps,
  jobs: readonly BundledJobRow[],
  format: 'yaml' | 'json',
): AsyncGenerator<string> {
  const writer = bundleWriter(format);
  yield writer.head;
  let isFirst = true;
  const leftOut: { name: string; why: string }[] = [];
  for (let at = 0; at < jobs.length; at += jobsAtATime) {
    const some = jobs.slice(at, at + jobsAtATime);
    const sealed = new Map((await readDefinitions(sql, some)).map((row) => [row.jobId, row]));
    let text = '';
    for (const job of some) {
      const row = sealed.get(job.id);
      // The job was deleted after the export began.
      if (row === undefined) continue;
      await setImmediate();
      const opened = openOrWhy(masterKey, job, row);
      if (typeof opened === 'string') {
        leftOut.push({ name: job.name, why: opened });
        continue;
      }
      text += writer.job(bundledJob(job, opened), isFirst);
      isFirst = false;
    }
    yield text;
  }
  yield writer.foot(isFirst, leftOut);
}

/**
 * Returns the definition, or why it can't be opened. The file has already begun, so the reason is written into it;
 * stopping here would leave a truncated file.
 */
function openOrWhy(
  masterKey: MasterKey,
  { id, version }: BundledJobRow,
  row: DefinitionRow,
): BundledJob['definition'] | string {
  try {
    return openDefinition(masterKey, id, version, row);
  } catch (error) {
    return whyUnreadableHere('Its definition', error);
  }
}

function bundledJob(job: BundledJobRow, definition: BundledJob['definition']): BundledJob {
  const named = (kind: 'tag' | 'channel') =>
    job.names.filter((one) => one.kind === kind && one.version === job.version).map(({ name }) => name);
  const [tags, channels] = [named('tag'), named('channel')];
  return {
    definition: joinDefinition(definition, job),
    state: job.state,
    ...(tags.length === 0 ? {} : { tags }),
    ...(channels.length === 0 ? {} : { channels }),
    ...(job.madeFrom === null ? {} : { made_from: job.madeFrom }),
  };
}
