// Routes that read runs: lists, single ones, their target runs and steps.
import {
  Closed,
  Id,
  limits,
  RunDetailSchema,
  RunExplanationSchema,
  RunPageSchema,
  RunQuerySchema,
  RunStepsQuerySchema,
  RunStepsSchema,
  TargetRunPageSchema,
  TargetRunQuerySchema,
} from '@opsconductor/protocol';
import type { Authority } from '../../../auth/authority.ts';
import type { MasterKey } from '../../../credentials/at-rest/master-key.ts';
import { mayDirectRun } from '../../../runs/ends/cancel-run.ts';
import { shownOutputs } from '../../../runs/values/show-values.ts';
import { Explanations } from '../../../runs/view/explain-run.ts';
import { leaveOutForbidden } from '../../../runs/view/leave-out-forbidden.ts';
import { listRuns } from '../../../runs/view/list-runs.ts';
import { PartEvents } from '../../../runs/view/part-events.ts';
import { runDetail } from '../../../runs/view/run-detail.ts';
import { stepView, targetRunView } from '../../../runs/view/run-view.ts';
import { listSeenTargetRuns, seeRun } from '../../../runs/view/seen-run.ts';
import type { Sql } from '../../../store/database/connection.ts';
import { decodeCursor, encodeCursor } from '../../../store/database/cursor.ts';
import { listSteps, type RunRecord } from '../../../store/runs/runs.ts';
import { idsOf } from '../../../validation/filter-words.ts';
import {
  runDetailExample,
  runPageExample,
  runStepsExample,
  targetRunsExample,
} from '../../description/examples/runs.ts';
import { type RouteSpec, route } from '../../route.ts';

const tag = 'runs';
const params = Closed({ id: Id });
const maxTargetRunsPerPage = 100;
/** Limit on the steps of one answer. If a job has many steps, a page holds fewer target runs. */
const maxStepsPerPage = 2_000;

export function runRoutes(deps: { sql: Sql; masterKey: MasterKey }): RouteSpec[] {
  const { sql } = deps;
  const explanations = new Explanations(sql);
  const partEvents = new PartEvents();
  return [
    route({
      method: 'GET',
      path: '/api/v1/runs',
      permission: 'read',
      scoped: true,
      summary: 'List runs of all jobs, newest first by default',
      description:
        'A caller who may read neither the job nor all targets of a run sees the part on the targets that they may read: status, counters and times are those of that part. Filters are combined with “and”. With `count=true`, `total` is the number on all pages: ask for it now and then, not every time; it is left out if counting takes over 3 s. A query that takes over 10 s is refused (503).',
      tag,
      query: RunQuerySchema,
      success: { status: 200, schema: RunPageSchema, example: runPageExample },
      handle: ({ query, principal }) => listRuns(sql, query, principal.authority),
    }),
    route({
      method: 'GET',
      path: '/api/v1/runs/:id',
      permission: 'read',
      scoped: true,
      summary: 'Get a run',
      tag,
      params,
      success: { status: 200, schema: RunDetailSchema, example: runDetailExample },
      handle: async ({ params, principal }) => {
        const seen = await seeRun(sql, params.id, principal.authority, { countEvents: partEvents });
        const [detail, mayCancel] = await Promise.all([
          runDetail(deps, seen),
          mayDirectRun(sql, seen.run, principal),
        ]);
        return {
          ...detail,
          mayRun: mayRunAgain(seen.run, principal.authority),
          mayCancel,
          mayEdit: mayEditJob(seen.run, principal.authority),
          mayPurge: mayCancel && principal.authority.holdsOnCategory('runs.purge', seen.run.categoryId),
        };
      },
    }),
    route({
      method: 'GET',
      path: '/api/v1/runs/:id/explain',
      permission: 'read',
      scoped: true,
      summary: 'Explain why parts of a run are waiting',
      description:
        'Grouped by reason and place: what the run waits for, since when, until when, and what to do. The queue decides by the same conditions. The agent that has a step is named to everyone who sees the step. Why the agents of a segment take no steps is shown to callers who may read the segment, and other runs to callers who may read them. A caller who sees only a part of the run sees what waits in that part.',
      tag,
      params,
      success: { status: 200, schema: RunExplanationSchema },
      handle: ({ params, principal }) => explanations.of(params.id, principal.authority),
    }),
    route({
      method: 'GET',
      path: '/api/v1/runs/:id/steps',
      permission: 'read',
      scoped: true,
      summary: 'List a run’s steps, whole target runs at a time',
      description: `\`limit\` counts target runs: at most ${maxTargetRunsPerPage}, and fewer if they have many steps. \`targetRunId\` or \`targetRunIds\` restrict the list to these.`,
      tag,
      params,
      query: RunStepsQuerySchema,
      success: { status: 200, schema: RunStepsSchema, example: runStepsExample },
      handle: async ({ params, query, principal }) => {
        const { authority } = principal;
        const { run, rows } = await listSeenTargetRuns(sql, params.id, authority, ({ stepNames }) => ({
          above: aboveOf(query),
          limit: targetRunsOnPage(query, stepNames) + 1,
          ids: idsOf(query.targetRunId, query.targetRunIds),
        }));
        const limit = targetRunsOnPage(query, run.stepNames);
        const page = rows.slice(0, limit);
        const last = page.at(-1);
        const ids = page.map((row) => row.id);
        const [steps, handedOn] = await Promise.all([listSteps(sql, ids), shownOutputs(deps, run, ids)]);
        return {
          targetRuns: page.map(targetRunView),
          steps: steps.map((step) => {
            const outputs = handedOn.get(step.id);
            const view = stepView(step, run.stepNames);
            return outputs === undefined ? view : { ...view, handedOn: outputs };
          }),
          nextCursor: rows.length > limit && last !== undefined ? encodeCursor([last.id]) : null,
        };
      },
    }),
    route({
      method: 'GET',
      path: '/api/v1/runs/:id/target-runs',
      permission: 'read',
      scoped: true,
      summary: 'List a run’s target runs, without their steps',
      description: `Up to ${limits.maxTargetRunsPerPage} per page, in the order of their ids.`,
      tag,
      params,
      query: TargetRunQuerySchema,
      success: { status: 200, schema: TargetRunPageSchema, example: targetRunsExample },
      handle: async ({ params: { id }, query, principal }) => {
        const limit = query.limit ?? limits.defaultPageItems;
        const filter = { above: aboveOf(query), limit: limit + 1 };
        const { authority } = principal;
        const { run, rows } = await listSeenTargetRuns(sql, id, authority, () => filter);
        const last = rows.length > limit ? rows[limit - 1] : undefined;
        const page = rows.slice(0, limit);
        const items = query.mayRun === true ? await leaveOutForbidden(sql, run.jobId, page, authority) : page;
        return {
          items: items.map(targetRunView),
          nextCursor: last === undefined ? null : encodeCursor([last.id]),
        };
      },
    }),
  ];
}

/** Returns whether the caller passes what a start checks before it looks at targets. */
function mayRunAgain({ categoryId, isJobDeleted }: RunRecord, authority: Authority): boolean {
  if (isJobDeleted) return false;
  return (['read', 'run'] as const).every((permission) => authority.holdsOnCategory(permission, categoryId));
}

function mayEditJob({ categoryId, isJobDeleted }: RunRecord, authority: Authority): boolean {
  return !isJobDeleted && authority.holdsOnCategory('jobs.edit', categoryId);
}

function targetRunsOnPage({ limit }: { limit?: number }, stepNames: readonly string[]): number {
  const few = Math.max(1, Math.floor(maxStepsPerPage / Math.max(1, stepNames.length)));
  return Math.min(limit ?? limits.defaultPageItems, maxTargetRunsPerPage, few);
}

/** Returns the id after which a page of target runs begins. */
function aboveOf({ cursor }: { cursor?: string }): number {
  return cursor === undefined ? 0 : (decodeCursor(cursor, ['number'])[0] ?? 0);
}
