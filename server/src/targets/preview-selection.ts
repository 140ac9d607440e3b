// What a selection would come to if it were run now.
import {
  labelNamesOf,
  limits,
  type SelectTargetsReply,
  type SelectTargetsRequestSchema,
  selectionProblems,
} from '@opsconductor/protocol';
import type { Static } from 'typebox';
import type { Authority } from '../auth/authority.ts';
import { notFound } from '../errors.ts';
import type { Queryable } from '../store/connection.ts';
import { decodeCursor, encodeCursor } from '../store/cursor.ts';
import { labelsOfNoTarget } from '../store/place-names.ts';
import { findRunnableJob } from '../store/run-creation.ts';
import { type SelectedRow, selectTargets } from '../store/target-selection.ts';
import { readSelection, refuseTooMany, requireFound } from './read-selection.ts';
import { problemOf, summaryOf } from './selection-problems.ts';

const maxNamed = 10;

/**
 * Resolves a selection as starting a run would, and tells what it comes to.
 *
 * @throws {AppError} like starting the run, but for what can't be run on: that is told in the answer.
 */
export async function previewSelection(
  sql: Queryable,
  request: Static<typeof SelectTargetsRequestSchema>,
  authority: Authority,
): Promise<SelectTargetsReply> {
  const { jobId, limit = limits.defaultPageItems, cursor, ...selection } = request;
  const from = cursor === undefined ? 0 : decodeCursor(cursor, ['number'] as const)[0];
  if (jobId !== undefined) await requireJobSeen(sql, jobId, authority);
  const read = authority.reach('read');
  const { query } = await readSelection(sql, selection, read);
  const rows = await selectTargets(
    sql,
    query,
    { read, run: authority.reach('run'), credentials: authority.reach('credentials.use') },
    { jobId, limit: limits.maxTargetsPerRun + 1 },
  );
  refuseTooMany(rows.length);
  requireFound(selection, rows);
  const items = rows.map((row) => ({ row, problem: problemOf(row) }));
  const page = items.slice(from, from + limit);
  const labels = [query.selector, query.exclude.selector].flatMap((one) =>
    one === undefined ? [] : labelNamesOf(one),
  );
  const unused = await labelsOfNoTarget(sql, [...new Set(labels)], read);
  return {
    total: items.length,
    runnable: items.filter(({ problem }) => problem === null).length,
    segments: segmentsOf(items),
    problems: problemsOf(items),
    notes: unused.map((label) => `No target has the label ${label}.`),
    items: page.map(({ row: { id, name, segmentId, segmentName, host }, problem }) => ({
      id,
      name,
      segmentId,
      segmentName,
      host,
      problem,
    })),
    nextCursor: from + limit < items.length ? encodeCursor([from + limit]) : null,
  };
}

async function requireJobSeen(sql: Queryable, jobId: number, authority: Authority): Promise<void> {
  const job = await findRunnableJob(sql, jobId);
  if (job === undefined || !authority.holdsOnCategory('read', job.categoryId)) {
    throw notFound(`Job ${jobId}`);
  }
}

type Item = { row: SelectedRow; problem: ReturnType<typeof problemOf> };

function segmentsOf(items: readonly Item[]): SelectTargetsReply['segments'] {
  const segments = new Map<number, SelectTargetsReply['segments'][number]>();
  for (const { row, problem } of items) {
    const known = segments.get(row.segmentId);
    const segment = known ?? { id: row.segmentId, name: row.segmentName, count: 0, runnable: 0 };
    segment.count += 1;
    if (problem === null) segment.runnable += 1;
    segments.set(row.segmentId, segment);
  }
  return [...segments.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

function problemsOf(items: readonly Item[]): SelectTargetsReply['problems'] {
  return selectionProblems.flatMap((problem) => {
    const having = items.filter((item) => item.problem === problem);
    if (having.length === 0) return [];
    const targets = having.slice(0, maxNamed).map(({ row }) => row.name);
    return [{ problem, message: summaryOf(problem), count: having.length, targets }];
  });
}
