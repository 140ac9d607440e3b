import {
  type Job,
  type JobCounts,
  type JobListItem,
  type JobPage,
  type JobQuery,
  type JobState,
  jobStates,
  limits,
  runStatuses,
  statusEdges,
} from '@opsconductor/protocol';
import type { Reach } from '../auth/authority.ts';
import type { MasterKey } from '../credentials/at-rest/master-key.ts';
import { notFound } from '../errors.ts';
import type { Queryable } from '../store/database/connection.ts';
import { pageOf } from '../store/database/cursor.ts';
import {
  countJobs,
  countJobsByKind,
  cursorKeyOf,
  type JobFilter,
  listJobLabels,
  listJobs as listJobRows,
} from '../store/jobs/job-list.ts';
import { findVersionHead, listVersionNames } from '../store/jobs/job-versions.ts';
import { findJob, type JobDetailRow, type JobRow } from '../store/jobs/jobs.ts';
import { readTime, readWords } from '../validation/filter-words.ts';
import { refuseUnstorableText } from '../validation/storable-text.ts';
import { joinDefinition } from './definition/split-definition.ts';
import { loadJobVersion } from './versions/load-job-version.ts';

const maxLabelValues = 50;
const lastResults = [...runStatuses, 'none'] as const;

/**
 * Returns a page of the jobs within the reaches that match, with their last runs. Archived ones only if their state is
 * asked for.
 */
export async function listJobs(sql: Queryable, query: JobQuery, reaches: readonly Reach[]): Promise<JobPage> {
  refuseUnstorableText(query, 'query');
  const { sort = 'name', cursor, limit = limits.defaultPageItems, count } = query;
  const filter = readJobFilter(query);
  const [rows, total] = await Promise.all([
    listJobRows(sql, { ...filter, sort, limit, cursor }, reaches),
    count === true ? countJobs(sql, filter, reaches) : undefined,
  ]);
  const page = pageOf(
    rows,
    limit,
    (row) => cursorKeyOf(sort, row),
    (row): JobListItem => ({ ...jobFields(row), lastRuns: row.lastRuns }),
  );
  return total === undefined ? page : { ...page, total };
}

/** Returns how many jobs lie within the reaches: by state, last result and category. */
export async function jobCounts(sql: Queryable, reaches: readonly Reach[]): Promise<JobCounts> {
  const { kinds, lastResults: ran } = await countJobsByKind(sql, reaches);
  const shown = kinds.filter(({ state }) => state !== 'archived');
  const sum = (of: readonly { jobs: number }[]) => of.reduce((all, { jobs }) => all + jobs, 0);
  const total = sum(shown);
  return {
    total,
    states: jobStates.map((state) => ({ state, jobs: sum(kinds.filter((kind) => kind.state === state)) })),
    lastResults: lastResults.map((lastResult) => ({
      lastResult,
      jobs:
        lastResult === 'none'
          ? total - sum(ran)
          : sum(ran.filter((result) => result.lastResult === lastResult)),
    })),
    categories: [...new Set(shown.map(({ category }) => category))]
      .sort()
      .map((category) => ({ category, jobs: sum(shown.filter((kind) => kind.category === category)) })),
    templates: shown.reduce((all, { templates }) => all + templates, 0),
  };
}

/** Returns the labels in use on the jobs within the reaches. */
export async function jobLabels(sql: Queryable, reaches: readonly Reach[]) {
  const rows = await listJobLabels(sql, reaches, maxLabelValues);
  return { items: rows.map((row) => ({ ...row, values: row.values ?? [] })), nextCursor: null };
}

/** @throws {AppError} `invalid`, naming the field, for lists with unknown words. */
export function readJobFilter(query: JobQuery, path = 'query.'): JobFilter {
  const { label, state, lastResult, template, createdAfter, createdBefore, updatedAfter, updatedBefore } =
    query;
  return {
    search: query.search,
    category: query.category,
    stepType: query.stepType,
    author: query.author?.trim(),
    madeFrom: query.madeFrom,
    isTemplate: template,
    labels: label?.split(',').map(readLabel),
    states:
      state === undefined
        ? jobStates.filter((one) => one !== 'archived')
        : readWords(state, jobStates, `${path}state`),
    lastResults:
      lastResult === undefined ? undefined : readWords(lastResult, lastResults, `${path}lastResult`),
    createdAfter: readTime(createdAfter, `${path}createdAfter`),
    createdBefore: readTime(createdBefore, `${path}createdBefore`),
    updatedAfter: readTime(updatedAfter, `${path}updatedAfter`),
    updatedBefore: readTime(updatedBefore, `${path}updatedBefore`),
  };
}

function readLabel(text: string): { name: string; value: string | undefined } {
  const at = text.indexOf('=');
  return at < 0
    ? { name: text.trim(), value: undefined }
    : { name: text.slice(0, at).trim(), value: text.slice(at + 1) };
}

/**
 * Returns a job with its current definition.
 * @param seen where the caller may read: the template that it was made from is named only if it lies there.
 * @throws {AppError} `not_found`, also for a job outside the reaches.
 */
export async function getJob(
  deps: { sql: Queryable; masterKey: MasterKey },
  id: number,
  reaches: readonly Reach[],
  seen: readonly Reach[] = reaches,
): Promise<Job> {
  const row = await findJob(deps.sql, id, reaches);
  if (row === undefined) throw notFound('Job');
  const [{ definition, checksum }, head, names, madeFrom] = await Promise.all([
    loadJobVersion(deps, id, row.version),
    findVersionHead(deps.sql, id, row.version),
    listVersionNames(deps.sql, id),
    madeFromOf(deps.sql, row, seen),
  ]);
  return {
    ...jobFields(row),
    categoryId: row.categoryId,
    stateNote: row.stateNote,
    nextStates: [...nextStatesOf(row.state)],
    madeFrom,
    names,
    savedAt: (head?.createdAt ?? row.updatedAt).toISOString(),
    savedBy: head?.createdBy ?? 'deleted user',
    note: head?.note ?? '',
    definition: joinDefinition(definition, row),
    checksum,
  };
}

/** Returns the states that may follow a job's state. */
export function nextStatesOf(state: JobState): readonly JobState[] {
  return statusEdges.job[state];
}

async function madeFromOf(
  sql: Queryable,
  { madeFromJobId, madeFromVersion }: JobDetailRow,
  seen: readonly Reach[],
): Promise<Job['madeFrom']> {
  if (madeFromJobId === null || madeFromVersion === null) return null;
  const template = await findJob(sql, madeFromJobId, seen);
  if (template === undefined) return null;
  return { id: template.id, name: template.name, version: madeFromVersion, newestVersion: template.version };
}

function jobFields(row: JobRow) {
  return {
    id: row.id,
    name: row.name,
    description: row.description,
    category: row.category,
    version: row.version,
    state: row.state,
    isActive: row.state === 'active',
    labels: row.labels,
    isTemplate: row.isTemplate,
    stepCount: row.stepCount,
    stepTypes: row.stepTypes,
    createdBy: row.createdByName ?? 'deleted user',
    createdAt: row.createdAt.toISOString(),
    updatedAt: row.updatedAt.toISOString(),
  };
}
