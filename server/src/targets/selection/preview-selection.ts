// What a selection would resolve to if it were run now.
import {
  labelNamesOf,
  limits,
  type SelectTargetsReply,
  type SelectTargetsRequestSchema,
  selectionProblems,
} from '@opsconductor/protocol';
import type { Static } from 'typebox';
import type { Authority } from '../../auth/authority.ts';
import { notFound } from '../../errors.ts';
import type { Queryable } from '../../store/database/connection.ts';
import { decodeCursor, encodeCursor } from '../../store/database/cursor.ts';
import { labelsOfNoTarget } from '../../store/people/place-names.ts';
import { segmentsThatWait } from '../../store/queue/waiting/queue-status.ts';
import { findRunnableJob } from '../../store/runs/run-creation.ts';
import { findSigningAgents } from '../../store/runs/run-grants.ts';
import { summarizeSelection } from '../../store/targets/target-selection.ts';
import { readSelection, refuseTooMany, requireFound } from './read-selection.ts';
import { summaryOf } from './selection-problems.ts';

const maxNamed = 10;

/**
 * Resolves a selection like starting a run would, and describes the result.
 * @throws {AppError} like starting the run, except for targets that can't be run on: the answer lists these.
 */
export async function previewSelection(
  sql: Queryable,
  request: Static<typeof SelectTargetsRequestSchema>,
  authority: Authority,
): Promise<SelectTargetsReply> {
  const { jobId, limit = limits.defaultPageItems, cursor, ...selection } = request;
  const from = cursor === undefined ? 0 : decodeCursor(cursor, ['number'] as const, 'cursor')[0];
  if (jobId !== undefined) await requireJobSeen(sql, jobId, authority);
  const read = authority.reach('read');
  const { query } = await readSelection(sql, selection, read);
  const labels = [query.selector, query.exclude.selector].flatMap((one) =>
    one === undefined ? [] : labelNamesOf(one),
  );
  const reaches = { read, run: authority.reach('run'), credentials: authority.reach('credentials.use') };
  const [summary, unused] = await Promise.all([
    summarizeSelection(sql, query, reaches, {
      jobId,
      limit: limits.maxTargetsPerRun + 1,
      page: { offset: from, limit },
      maxNamed,
    }),
    labelsOfNoTarget(sql, [...new Set(labels)], read),
  ]);
  const segmentIds = summary.segments.map(({ id }) => id);
  const [signing, waiting] = await Promise.all([
    signingOf(sql, segmentIds),
    segmentsThatWait(sql, segmentIds),
  ]);
  const segments = summary.segments.map((segment) => ({
    ...segment,
    ...signing(segment.id),
    ...(waiting.has(segment.id) ? { waitsForAgent: true as const } : {}),
  }));
  const { total, foundIds, credentials, withoutHostKey, items } = summary;
  refuseTooMany(total);
  requireFound(selection, foundIds);
  return {
    total,
    runnable: segments.reduce((sum, segment) => sum + segment.runnable, 0),
    segments,
    credentials,
    withoutHostKey,
    problems: selectionProblems.flatMap((problem) =>
      summary.problems
        .filter((one) => one.problem === problem)
        .map((one) => ({ ...one, message: summaryOf(problem) })),
    ),
    notes: unused.map((label) => `No target has the label ${label}.`),
    items,
    nextCursor: from + limit < total ? encodeCursor([from + limit]) : null,
  };
}

/** Returns what each of these segments requires of signed runs; nothing if none of its agents requires a signature. */
async function signingOf(sql: Queryable, segmentIds: readonly number[]) {
  const agents = await findSigningAgents(sql, segmentIds);
  return (id: number) => {
    const own = agents.filter(({ segmentId }) => segmentId === id);
    if (own.length === 0) return {};
    const named = own.map(({ agentId, agentName }) => ({ id: agentId, name: agentName }));
    return { signing: { agents: named, oneAgent: own.some(({ oneAgent }) => oneAgent) } };
  };
}

async function requireJobSeen(sql: Queryable, jobId: number, authority: Authority): Promise<void> {
  const job = await findRunnableJob(sql, jobId);
  if (job === undefined || !authority.holdsOnCategory('read', job.categoryId)) {
    throw notFound(`Job ${jobId}`);
  }
}
