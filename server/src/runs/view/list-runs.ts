// The history of runs, across jobs: narrowed down, in pages, counted.
import { limits, maxCountedRuns, type RunPage, type RunQuery, runStatuses } from '@opsconductor/protocol';
import type { Authority } from '../../auth/authority.ts';
import { readTime, readWords } from '../../filter-words.ts';
import { refuseUnstorableText } from '../../storable-text.ts';
import type { Queryable } from '../../store/database/connection.ts';
import { decodeCursor, pageOf } from '../../store/database/cursor.ts';
import { reachesEverything } from '../../store/people/visibility.ts';
import { countRuns } from '../../store/runs/runs.ts';
import { runView } from './run-view.ts';
import { listSeenRuns } from './seen-run.ts';

/** @throws {AppError} `invalid`, naming the field, for a status, a time or a cursor that is none. */
export async function listRuns(sql: Queryable, query: RunQuery, authority: Authority): Promise<RunPage> {
  refuseUnstorableText(query, 'query');
  const { cursor, count, limit = limits.defaultPageItems, sort } = query;
  const filter = {
    statuses: query.status === undefined ? undefined : readWords(query.status, runStatuses, 'query.status'),
    jobId: query.jobId,
    targetId: query.targetId,
    category: query.category,
    search: some(query.search),
    createdBy: some(query.createdBy),
    target: some(query.target),
    version: some(query.version),
    createdAfter: readTime(query.createdAfter, 'query.createdAfter'),
    createdBefore: readTime(query.createdBefore, 'query.createdBefore'),
  };
  const beyond = cursor === undefined ? undefined : decodeCursor(cursor, ['number'])[0];
  const reaches = authority.reach('read');
  // The status of a part is known only once the part is looked at: such runs are listed, and not counted.
  const isCounted = count === true && (filter.statuses === undefined || reachesEverything(reaches));
  const [rows, total] = await Promise.all([
    listSeenRuns(sql, { ...filter, sort, beyond, limit: limit + 1 }, authority),
    isCounted ? countRuns(sql, { ...filter, reaches }, maxCountedRuns) : undefined,
  ]);
  const page = pageOf(rows, limit, ({ id }) => [id], runView);
  return total === undefined ? page : { ...page, total };
}

function some(text: string | undefined): string | undefined {
  return text === undefined || text.trim() === '' ? undefined : text.trim();
}
