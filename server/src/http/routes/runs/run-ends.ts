// Routes that end runs, or single target runs, before their time, and the one that deletes a run that has ended.
import {
  CancelQuerySchema,
  Closed,
  Id,
  PurgeQuerySchema,
  RunSchema,
  TargetRunSchema,
} from '@opsconductor/protocol';
import { type Caller, callerOf } from '../../../caller.ts';
import { invalidField } from '../../../errors.ts';
import { cancelRun } from '../../../runs/ends/cancel-run.ts';
import { cancelTargetRun, seeTargetRun } from '../../../runs/ends/cancel-target-run.ts';
import { purgeEndedRun } from '../../../runs/ends/purge-ended-run.ts';
import type { ProgressNews } from '../../../runs/progress/run-ledger.ts';
import { runView, targetRunView } from '../../../runs/view/run-view.ts';
import { seeRun } from '../../../runs/view/seen-run.ts';
import type { Sql } from '../../../store/database/connection.ts';
import { cancellingRunExample, targetRunExample } from '../../description/examples/runs.ts';
import { type RouteSpec, route } from '../../route.ts';

export interface RunEndDeps {
  sql: Sql;
  publish(news: ProgressNews): void;
}

const tag = 'runs';
const params = Closed({ id: Id });
const targetRunParams = Closed({ id: Id, targetRun: Id });

export function runEndRoutes(deps: RunEndDeps): RouteSpec[] {
  return [
    route({
      method: 'DELETE',
      path: '/api/v1/runs/:id',
      permission: 'run',
      scoped: true,
      summary: 'Cancel an open run; with `purge=true`, delete an ended one with its output',
      description:
        'If the run has ended, attempts that were given up and have not been reported since (`untoldAttempts`) are stopped as soon as an agent can; their outcomes stay. Canceling needs `run` on the job’s category or on all targets of the run; deleting needs `runs.purge` on the category.',
      tag,
      params,
      query: PurgeQuerySchema,
      success: { status: 202, schema: RunSchema, example: cancellingRunExample, others: [{ status: 204 }] },
      handle: async (request) => {
        const caller = callerOf(request);
        const { purge: isPurge = false, force = false } = request.query;
        if (isPurge && force) {
          throw invalidField(
            'query.force',
            '`purge` deletes an ended run and `force` cancels an open one: leave out one of them.',
            {
              found: 'true',
              allowed: 'without `purge`',
            },
          );
        }
        if (!isPurge) return cancel(deps, request.params.id, caller, force);
        await purgeEndedRun(deps.sql, request.params.id, caller);
        return request.context.body(null, 204);
      },
    }),
    route({
      method: 'POST',
      path: '/api/v1/executor/cancel/:id',
      permission: 'run',
      scoped: true,
      summary: 'Cancel a run',
      description:
        'Needs `run` on the job’s category or on all targets of the run. Waiting steps end `cancelled` at once; running ones are told to stop, and clean-up steps still run. With `force=true`, no agent is waited for: steps that were given to an agent end `unknown`, the others `cancelled`, no clean-up steps run, and agents are still told to stop. If the run has ended, attempts that were given up and have not been reported since are stopped.',
      tag: 'queue',
      params,
      query: CancelQuerySchema,
      success: { status: 202, schema: RunSchema, example: cancellingRunExample },
      handle: (request) => cancel(deps, request.params.id, callerOf(request), request.query.force ?? false),
    }),
    route({
      method: 'POST',
      path: '/api/v1/runs/:id/target-runs/:targetRun/cancel',
      permission: 'run',
      scoped: true,
      summary: 'Cancel one target run, and let the rest of the run go on',
      description:
        'Needs what canceling the run needs: `run` on the job’s category or on all targets of the run. What canceling does to a run is done to this target run alone, also with `force=true`. It is no failure for `max_failures`; if it ends `unknown`, it counts as such. Other target runs begin in its place. Repeating the request changes nothing, and so does canceling one of a run that is being canceled. One that has ended by itself is refused (409), unless attempts on it were given up and have not been reported since: these are stopped as soon as an agent can, and its outcome stays.',
      tag,
      params: targetRunParams,
      query: CancelQuerySchema,
      success: { status: 202, schema: TargetRunSchema, example: targetRunExample },
      handle: async (request) => {
        const name = { runId: request.params.id, targetRunId: request.params.targetRun };
        const caller = callerOf(request);
        deps.publish(await cancelTargetRun(deps.sql, name, caller, request.query));
        return targetRunView(await seeTargetRun(deps.sql, name, caller));
      },
    }),
  ];
}

async function cancel(deps: RunEndDeps, runId: number, caller: Caller, force: boolean) {
  deps.publish(await cancelRun(deps.sql, runId, caller, { force }));
  return runView((await seeRun(deps.sql, runId, caller.authority)).run);
}
