// Runs as a caller sees them: whole if they may read the job or all targets of the run, otherwise only the part on the
// targets that they may read.
import type { RunStatus } from '@opsconductor/protocol';
import type { Authority } from '../../auth/authority.ts';
import { notFound } from '../../errors.ts';
import type { Queryable } from '../../store/database/connection.ts';
import { listRuns, type RunListQuery } from '../../store/runs/lists/run-lists.ts';
import {
  identifyPart,
  listPartSteps,
  listRunParts,
  type RunPartRow,
} from '../../store/runs/lists/run-parts.ts';
import {
  findRunWithin,
  listTargetRuns,
  type RunRecord,
  type TargetRunRecord,
} from '../../store/runs/runs.ts';
import type { PartEvents } from './part-events.ts';
import { partTagOf, partView, RunPart, targetStatusesOf } from './run-part.ts';

export interface SeenRun {
  /** With the figures of what the caller sees. */
  run: RunRecord;
  isWhole: boolean;
  /** Set for a part whose events were counted: identifies the part. */
  partTag?: string | undefined;
}

/**
 * Reads a run as the caller sees it. For a caller who may read the run's job this takes one query.
 *
 * @throws {AppError} `not_found`, also if the caller may see nothing of the run.
 */
export async function seeRun(
  sql: Queryable,
  id: number,
  authority: Authority,
  options: { countEvents?: PartEvents } = {},
): Promise<SeenRun> {
  const reaches = authority.reach('read');
  const run = await findRunWithin(sql, id, reaches);
  if (run === undefined) throw notFound(`Run ${id}`);
  if (authority.holdsOnCategory('read', run.categoryId)) return { run, isWhole: true };
  const [part] = await listRunParts(sql, [id], reaches);
  if (part === undefined) throw notFound(`Run ${id}`);
  const seen = seenAs(run, part);
  if (seen.isWhole || options.countEvents === undefined) return seen;
  // Counted up to the event that the run was read with, since the figures don't include later events.
  const { digest } = await identifyPart(sql, id, reaches);
  const told = await options.countEvents.count(sql, run, reaches, digest);
  return { ...seen, run: { ...seen.run, eventSeq: told.count }, partTag: partTagOf(told.digest) };
}

/**
 * Returns whether the caller sees the whole run, or else which part; `undefined` if they see nothing. Doesn't read
 * steps.
 */
export async function whatIsSeen(
  sql: Queryable,
  id: number,
  authority: Authority,
): Promise<{ isWhole: boolean; partTag?: string } | undefined> {
  const reaches = authority.reach('read');
  const run = await findRunWithin(sql, id, reaches);
  if (run === undefined) return undefined;
  if (authority.holdsOnCategory('read', run.categoryId)) return { isWhole: true };
  const { targets, digest } = await identifyPart(sql, id, reaches);
  if (targets === 0) return undefined;
  return targets === run.targetsTotal ? { isWhole: true } : { isWhole: false, partTag: partTagOf(digest) };
}

/** Fields of a run that are the same for everyone who sees any of it. */
type AnyPart = Pick<RunRecord, 'id' | 'jobId' | 'jobVersion' | 'stepNames'>;

/**
 * Returns the target runs that the caller sees, ordered by id. Doesn't read steps, because no figures of a part are
 * returned.
 *
 * @throws {AppError} `not_found`, also if the caller may see nothing of the run.
 */
export async function listSeenTargetRuns(
  sql: Queryable,
  id: number,
  authority: Authority,
  filterOf: (run: AnyPart) => Omit<Parameters<typeof listTargetRuns>[1], 'runId'>,
): Promise<{ run: AnyPart; rows: TargetRunRecord[] }> {
  const reaches = authority.reach('read');
  const run = await findRunWithin(sql, id, reaches);
  if (run === undefined) throw notFound(`Run ${id}`);
  const rows = await listTargetRuns(sql, { runId: id, ...filterOf(run) }, reaches);
  return { run, rows };
}

/** Returns the part of a run that the caller follows, or `undefined` if they see the whole run. */
export async function partToFollow(
  sql: Queryable,
  { run, isWhole }: SeenRun,
  authority: Authority,
): Promise<RunPart | undefined> {
  if (isWhole) return undefined;
  const targetRuns = await listPartSteps(sql, run.id, authority.reach('read'));
  return new RunPart(targetRuns, { maxFailures: run.maxFailures });
}

/** Number of runs examined at a time when looking for runs whose part is in the status asked for. */
const batchRuns = 200;

/**
 * Returns at most `limit` runs in the order asked for. The status filter applies to the part that the caller sees.
 *
 * @param goOn awaited before each further statement: if few parts are in the status, all existing runs may be read.
 */
export async function listSeenRuns(
  sql: Queryable,
  filter: Omit<RunListQuery, 'reaches' | 'partStatuses'>,
  authority: Authority,
  goOn: () => Promise<void>,
): Promise<RunRecord[]> {
  const reaches = authority.reach('read');
  const { statuses } = filter;
  const partStatuses = statuses === undefined ? undefined : [...new Set(statuses.flatMap(targetStatusesOf))];
  const found: RunRecord[] = [];
  for (let { beyond, limit } = filter; ; limit = Math.max(limit, batchRuns)) {
    const rows = await listRuns(sql, { ...filter, reaches, partStatuses, beyond, limit });
    found.push(...(await seenAmong(sql, rows, authority, { statuses, goOn })));
    if (rows.length < limit || found.length >= filter.limit) return found.slice(0, filter.limit);
    beyond = rows.at(-1)?.id;
    await goOn();
  }
}

async function seenAmong(
  sql: Queryable,
  rows: readonly RunRecord[],
  authority: Authority,
  { statuses, goOn }: { statuses: readonly RunStatus[] | undefined; goOn: () => Promise<void> },
): Promise<RunRecord[]> {
  const isReader = (run: RunRecord) => authority.holdsOnCategory('read', run.categoryId);
  const partly = rows.filter((run) => !isReader(run)).map(({ id }) => id);
  if (partly.length === 0) return [...rows];
  await goOn();
  const parts = new Map(
    (await listRunParts(sql, partly, authority.reach('read'))).map((part) => [part.jobRunId, part]),
  );
  return rows.flatMap((run) => {
    if (isReader(run)) return [run];
    const part = parts.get(run.id);
    if (part === undefined) return [];
    const seen = seenAs(run, part).run;
    return statuses === undefined || statuses.includes(seen.status) ? [seen] : [];
  });
}

/** How targets were selected is hidden, as it may name places that only readers of the job may know. */
function seenAs(whole: RunRecord, part: RunPartRow): SeenRun {
  const run = { ...whole, ...noPlan };
  const { maxFailures, cancelRequestedAt } = run;
  const view = partView(part, { maxFailures, cancelRequested: false });
  if (view.targetsTotal === run.targetsTotal) return { run, isWhole: true };
  // A cancel that came after the part had ended changed nothing in it, and would reveal that the rest hadn't ended.
  const isTold =
    cancelRequestedAt !== null && (view.completedAt === null || view.completedAt >= cancelRequestedAt);
  const told = isTold ? partView(part, { maxFailures, cancelRequested: true }) : { ...view, ...noCancel };
  return { run: { ...run, ...told, eventSeq: 0 }, isWhole: false };
}

/** Hides figures that reveal targets which aren't seen, and runs that may be on other targets. */
const noPlan = { selection: null, strategy: null, rerunOf: null, reruns: [] };
const noCancel = { cancelRequestedAt: null, cancelRequestedBy: null };
