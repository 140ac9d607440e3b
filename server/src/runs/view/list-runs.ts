// Lists runs across jobs: filtered, in pages, counted.
import { limits, maxCountedRuns, type RunPage, type RunQuery, runStatuses } from '@opsconductor/protocol';
import type { Authority } from '../../auth/authority.ts';
import { AppError } from '../../errors.ts';
import type { Sql } from '../../store/database/connection.ts';
import { decodeCursor, pageOf } from '../../store/database/cursor.ts';
import { reachesEverything } from '../../store/people/visibility.ts';
import { countRuns, findStarter, listingWithin, TookTooLong } from '../../store/runs/lists/run-lists.ts';
import { readTime, readWords } from '../../validation/filter-words.ts';
import { refuseUnstorableText } from '../../validation/storable-text.ts';
import { runView } from './run-view.ts';
import { listSeenRuns } from './seen-run.ts';

/** How long a search may take. A filter without an index goes through all runs. */
const searchMs = 10_000;
/**
 * How long a page waits for its total at most, even if the page itself is found at once. Then it goes without a total.
 */
const countMs = 3_000;

/**
 * @throws {AppError} `invalid`, naming the field, if a status, a time or a cursor isn't valid; `unavailable` if the
 * search would read too much.
 */
export async function listRuns(
  sql: Sql,
  query: RunQuery,
  authority: Authority,
  times: { searchMs?: number; countMs?: number } = {},
): Promise<RunPage> {
  refuseUnstorableText(query, 'query');
  const { cursor, count, limit = limits.defaultPageItems, sort } = query;
  const filter = {
    statuses: query.status === undefined ? undefined : readWords(query.status, runStatuses, 'query.status'),
    jobId: query.jobId,
    targetId: query.targetId,
    category: query.category,
    search: some(query.search),
    target: some(query.target),
    version: some(query.version),
    createdAfter: readTime(query.createdAfter, 'query.createdAfter'),
    createdBefore: readTime(query.createdBefore, 'query.createdBefore'),
  };
  const beyond = cursor === undefined ? undefined : decodeCursor(cursor, ['number'])[0];
  const reaches = authority.reach('read');
  // The status of a part is known only once the part has been read, so such runs are listed but not counted.
  const isCounted = count === true && (filter.statuses === undefined || reachesEverything(reaches));
  const starter = some(query.createdBy);
  // Filtered by user id, because the database has statistics on how many runs a user has started.
  const createdBy = starter === undefined ? undefined : await findStarter(sql, starter);
  if (starter !== undefined && createdBy === undefined)
    return { items: [], nextCursor: null, ...(isCounted ? { total: 0 } : {}) };
  const asked = { ...filter, createdBy, sort, beyond, limit: limit + 1 };
  const [rows, total] = await Promise.all([
    listingWithin(sql, times.searchMs ?? searchMs, (db, goOn) =>
      listSeenRuns(db, asked, authority, goOn),
    ).catch(tellTooLong),
    isCounted
      ? listingWithin(sql, times.countMs ?? countMs, (db) =>
          countRuns(db, { ...filter, createdBy, reaches }, maxCountedRuns),
        ).catch(notCounted)
      : undefined,
  ]);
  const page = pageOf(rows, limit, ({ id }) => [id], runView);
  return total === undefined ? page : { ...page, total };
}

function tellTooLong(error: unknown): never {
  if (!(error instanceof TookTooLong)) throw error;
  // This also happens if something else has locked the table or the database is busy.
  const advice =
    'Give a shorter time range, or add a job or another filter. If that does not help either, the database is busy: try again later.';
  throw new AppError('unavailable', `Searching for these runs took too long. ${advice}`, { cause: error });
}

function notCounted(error: unknown): undefined {
  if (!(error instanceof TookTooLong)) throw error;
}

function some(text: string | undefined): string | undefined {
  return text === undefined || text.trim() === '' ? undefined : text.trim();
}
