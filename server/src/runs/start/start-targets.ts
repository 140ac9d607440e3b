// Resolves the selection of a start to targets, checks them, and puts them into the order in which they start.
import { randomInt } from 'node:crypto';
import {
  limits,
  type RunSelection,
  type RunStrategy,
  resolveStrategy,
  type Strategy,
} from '@opsconductor/protocol';
import { MissingPermission } from '../../auth/missing-permission.ts';
import type { Caller } from '../../caller.ts';
import { AppError } from '../../errors.ts';
import type { Sql } from '../../store/database/connection.ts';
import { type SelectedRow, selectTargets } from '../../store/targets/target-selection.ts';
import { readSelection, refuseTooMany, requireFound } from '../../targets/selection/read-selection.ts';
import { sentenceOf } from '../../targets/selection/selection-problems.ts';
import { opensWith } from '../progress/follow-strategy.ts';
import { orderTargets } from './order-targets.ts';
import type { StartRun } from './start-request.ts';

const maxDetails = 100;

/**
 * Returns the targets that a selection stands for now, of those that the caller may run on.
 * @throws AppError `invalid` if it selects none, too many, or one that can’t be run on; `not_found`; `forbidden`
 */
export async function resolveTargets(
  sql: Sql,
  request: Pick<StartRun, 'jobId' | 'selection'>,
  jobVersion: number | undefined,
  caller: Caller,
): Promise<{ targets: SelectedRow[]; selection: RunSelection }> {
  const { jobId, selection } = request;
  const { authority } = caller;
  const read = authority.reach('read');
  const { query, asked } = await readSelection(sql, selection, read);
  const reaches = { read, run: authority.reach('run'), credentials: authority.reach('credentials.use') };
  const limit = limits.maxTargetsPerRun + 1;
  const targets = await selectTargets(sql, query, reaches, { jobId, jobVersion, limit });
  refuseTooMany(targets.length);
  requireFound(
    selection,
    targets.map((target) => target.id),
  );
  if (targets.length === 0)
    throw new AppError(
      'invalid',
      'No target is selected that a run could take. Check the selector, the groups and what is left out; inactive targets are not taken.',
    );
  refuseProblems(selection.targetIds ?? [], targets, caller);
  return { targets, selection: { ...asked, selected: targets.length } };
}

/**
 * Refuses the run if any selected target can't be run on: a run takes all of them or none. Reports the problem of each
 * target.
 */
function refuseProblems(askedIds: readonly number[], targets: readonly SelectedRow[], caller: Caller): void {
  const indexOf = new Map(askedIds.map((id, index) => [id, index]));
  const problems = targets.flatMap((row) => {
    const { problem } = row;
    if (problem === null) return [];
    const index = indexOf.get(row.id);
    const path = index === undefined ? 'selector' : `targetIds[${index}]`;
    return [{ problem, detail: { path, found: row.name, message: sentenceOf(problem, row) } }];
  });
  const forbidden = problems.find(({ problem }) => problem.endsWith('_forbidden'));
  const details = problems.slice(0, maxDetails).map(({ detail }) => detail);
  if (forbidden !== undefined) {
    const permission = forbidden.problem === 'run_forbidden' ? 'run' : 'credentials.use';
    throw new MissingPermission(caller, permission, `target “${forbidden.detail.found}”`, details);
  }
  const [first] = details;
  if (first === undefined) return;
  const message =
    problems.length === 1
      ? first.message
      : `${problems.length} targets can’t be run on. The first: ${first.message}`;
  throw new AppError('invalid', message, { details });
}

/** Returns the targets in the order in which they start, and the strategy as resolved for them. */
export function orderForStart(
  strategy: Strategy | undefined,
  targets: readonly SelectedRow[],
): { targets: readonly SelectedRow[]; strategy: (RunStrategy & { opens: number }) | null } {
  if (strategy === undefined) return { targets, strategy: null };
  const seed = randomInt(2 ** 32);
  const resolved = resolveStrategy(strategy, targets.length, seed);
  return {
    targets: orderTargets(targets, resolved.order, seed),
    strategy: { ...resolved, opens: opensWith(resolved, targets.length) },
  };
}
