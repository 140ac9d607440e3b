// Runs as a caller sees them: whole for who may read the job, or all of the run's targets; otherwise the part on the
// targets that they may read.
import type { RunStatus } from '@opsconductor/protocol';
import type { Authority } from '../../auth/authority.ts';
import { notFound } from '../../errors.ts';
import type { Queryable } from '../../store/database/connection.ts';
import { identifyPart, listPartSteps, listRunParts, type RunPartRow } from '../../store/runs/run-parts.ts';
import {
  findRun,
  listRuns,
  listTargetRuns,
  type RunListQuery,
  type RunRecord,
  type TargetRunRecord,
} from '../../store/runs/runs.ts';
import type { PartEvents } from './part-events.ts';
import { partTagOf, partView, RunPart, targetStatusesOf } from './run-part.ts';

export interface SeenRun {
  /** With the figures of what is seen. */
  run: RunRecord;
  isWhole: boolean;
  /** Of a part whose events were counted: which part they were counted of. */
  partTag?: string | undefined;
}

/**
 * A run. Who may read its job pays one query, as before there were rights.
 *
 * @throws {AppError} `not_found`, also where nothing of it may be seen.
 */
export async function seeRun(
  sql: Queryable,
  id: number,
  authority: Authority,
  options: { countEvents?: PartEvents } = {},
): Promise<SeenRun> {
  const run = await findRun(sql, id);
  if (run === undefined) throw notFound(`Run ${id}`);
  if (authority.holdsOnCategory('read', run.categoryId)) return { run, isWhole: true };
  const reaches = authority.reach('read');
  const [part] = await listRunParts(sql, [id], reaches);
  if (part === undefined) throw notFound(`Run ${id}`);
  const seen = seenAs(run, part);
  if (seen.isWhole || options.countEvents === undefined) return seen;
  // Up to the event that the run was read with: what is told of later is not in the figures.
  const { digest } = await identifyPart(sql, id, reaches);
  const told = await options.countEvents.count(sql, run, reaches, digest);
  return { ...seen, run: { ...seen.run, eventSeq: told.count }, partTag: partTagOf(told.digest) };
}

/** Whether the caller sees all of the run, or which part; undefined where that is nothing. Reads no steps. */
export async function whatIsSeen(
  sql: Queryable,
  id: number,
  authority: Authority,
): Promise<{ isWhole: boolean; partTag?: string } | undefined> {
  const run = await findRun(sql, id);
  if (run === undefined) return undefined;
  if (authority.holdsOnCategory('read', run.categoryId)) return { isWhole: true };
  const { targets, digest } = await identifyPart(sql, id, authority.reach('read'));
  if (targets === 0) return undefined;
  return targets === run.targetsTotal ? { isWhole: true } : { isWhole: false, partTag: partTagOf(digest) };
}

/** What is the same of a run for everybody who sees any of it. */
type AnyPart = Pick<RunRecord, 'id' | 'jobId' | 'jobVersion' | 'stepNames'>;

/**
 * Target runs that are seen, in the order of their ids. Reads no steps, as no figure of a part is told with them.
 *
 * @throws {AppError} `not_found`, also where nothing of the run may be seen.
 */
export async function listSeenTargetRuns(
  sql: Queryable,
  id: number,
  authority: Authority,
  filterOf: (run: AnyPart) => Omit<Parameters<typeof listTargetRuns>[1], 'runId'>,
): Promise<{ run: AnyPart; rows: TargetRunRecord[] }> {
  const run = await findRun(sql, id);
  if (run === undefined) throw notFound(`Run ${id}`);
  const rows = await listTargetRuns(sql, { runId: id, ...filterOf(run) }, authority.reach('read'));
  // None that fits, or none at all.
  const isSeen = rows.length > 0 || (await whatIsSeen(sql, id, authority)) !== undefined;
  if (!isSeen) throw notFound(`Run ${id}`);
  return { run, rows };
}

/** The part of a run that the caller follows; undefined where that is all of it. */
export async function partToFollow(
  sql: Queryable,
  { run, isWhole }: SeenRun,
  authority: Authority,
): Promise<RunPart | undefined> {
  if (isWhole) return undefined;
  const targetRuns = await listPartSteps(sql, run.id, authority.reach('read'));
  return new RunPart(targetRuns, { maxFailures: run.maxFailures });
}

/** How many runs are looked through at a time for those whose part is in the status asked for. */
const batchRuns = 200;

/**
 * Runs in the order asked for, `limit` at most; a status is that of what is seen.
 *
 * @param goOn is waited for before each further statement: of a state that few parts are in, all runs that there are may be looked through.
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

/** How targets were selected may name places that only who reads the job has to do with. */
function seenAs(whole: RunRecord, part: RunPartRow): SeenRun {
  const run = { ...whole, ...noPlan };
  const view = partView(part, {
    maxFailures: run.maxFailures,
    cancelRequested: wasCancelled(run),
  });
  if (view.targetsTotal === run.targetsTotal) return { run, isWhole: true };
  const seen = { ...run, ...view, eventSeq: 0 };
  return { run: isCancelTold(seen) ? seen : { ...seen, ...noCancel }, isWhole: false };
}

/** Asked for while it went on: afterwards only what was given up is stopped. */
function wasCancelled({ cancelRequestedAt, completedAt }: RunRecord): boolean {
  return cancelRequestedAt !== null && (completedAt === null || cancelRequestedAt <= completedAt);
}

/** Numbers that tell of targets which are not seen, and runs that may be on others. */
const noPlan = { selection: null, strategy: null, rerunOf: null, reruns: [] };
const noCancel = { cancelRequestedAt: null, cancelRequestedBy: null };

/** A cancel that came after the part had ended tells that the rest had not. */
function isCancelTold(seen: RunRecord): boolean {
  const { completedAt, cancelRequestedAt, targetsCancelled } = seen;
  return (
    completedAt === null ||
    cancelRequestedAt === null ||
    targetsCancelled > 0 ||
    completedAt >= cancelRequestedAt
  );
}
