// Routes of runs, their steps and their output.
import {
  CancelQuerySchema,
  Closed,
  Id,
  isRunEnded,
  limits,
  OutputPageSchema,
  OutputQuerySchema,
  PurgeQuerySchema,
  RerunRequestSchema,
  type RunDetail,
  RunDetailSchema,
  RunExplanationSchema,
  RunPageSchema,
  RunQuerySchema,
  RunSchema,
  RunStepsQuerySchema,
  RunStepsSchema,
  StartRunRequestSchema,
  StepTransfersQuerySchema,
  StepTransfersSchema,
  TargetRunPageSchema,
  TargetRunQuerySchema,
  TargetRunSchema,
} from '@opsconductor/protocol';
import { recordAudit } from '../../../audit/record-audit.ts';
import type { Authority } from '../../../auth/authority.ts';
import { MissingPermission } from '../../../auth/missing-permission.ts';
import { auditedBy, type Caller, callerOf } from '../../../caller.ts';
import type { MasterKey } from '../../../credentials/at-rest/master-key.ts';
import { AppError, invalidField, notFound } from '../../../errors.ts';
import { readInTurns } from '../../../read-in-turns.ts';
import { cancelRun, mayDirectRun } from '../../../runs/ends/cancel-run.ts';
import { cancelTargetRun, seeTargetRun } from '../../../runs/ends/cancel-target-run.ts';
import { shownSignature } from '../../../runs/grants/shown-signature.ts';
import type { ClaimsAlong } from '../../../runs/leases/claim-along.ts';
import {
  findOutput,
  outputLength,
  readOutputBytes,
  readOutputPage,
} from '../../../runs/output/read-output.ts';
import type { ProgressNews } from '../../../runs/progress/run-ledger.ts';
import type { RunKeys } from '../../../runs/run-keys.ts';
import { rerun } from '../../../runs/start/rerun.ts';
import {
  type RequestKey,
  requestKeyHeader,
  requestKeyOf,
  startOnce,
} from '../../../runs/start/start-once.ts';
import { type Started, startRun } from '../../../runs/start/start-run.ts';
import { listTransfers } from '../../../runs/transfers/list-transfers.ts';
import { shownOutputs, shownParameters } from '../../../runs/values/show-values.ts';
import { Explanations } from '../../../runs/view/explain-run.ts';
import { leaveOutForbidden } from '../../../runs/view/leave-out-forbidden.ts';
import { listRuns } from '../../../runs/view/list-runs.ts';
import { PartEvents } from '../../../runs/view/part-events.ts';
import { runDetailView, runView, stepView, targetRunView } from '../../../runs/view/run-view.ts';
import { listSeenTargetRuns, type SeenRun, seeRun } from '../../../runs/view/seen-run.ts';
import type { Sql } from '../../../store/database/connection.ts';
import { decodeCursor, encodeCursor } from '../../../store/database/cursor.ts';
import { inTransaction } from '../../../store/database/transaction.ts';
import { countUntoldAttempts } from '../../../store/queue/step-attempts.ts';
import { findRun, listSteps, lockRun, purgeRun, type RunRecord } from '../../../store/runs/runs.ts';
import { answerBytes, partAnswers } from '../../answers/byte-answer.ts';
import {
  cancellingRunExample,
  runDetailExample,
  runPageExample,
  runStepsExample,
  targetRunExample,
  targetRunsExample,
} from '../../description/examples/runs.ts';
import { type RouteSpec, route } from '../../route.ts';
import { type Asker, followStarted, type RunEventsDeps, wantsEvents } from './run-events.ts';

export interface RunRouteDeps {
  sql: Sql;
  queue?: Sql;
  masterKey: MasterKey;
  identity: { installationId: string };
  keys: RunKeys;
  publish(news: ProgressNews): void;
  events: RunEventsDeps;
  claims?: ClaimsAlong;
}

const tag = 'runs';
/** The stream is sent only if `Accept` asks for it. */
const startAnswers = {
  status: 201,
  schema: RunDetailSchema,
  example: runDetailExample,
  others: [{ status: 201, contentType: 'text/event-stream' }],
} as const;
const params = Closed({ id: Id });
const stepParams = Closed({ id: Id, step: Id });
const targetRunParams = Closed({ id: Id, targetRun: Id });
const maxTargetRunsPerPage = 100;
/** Limit on the steps of one answer. If a job has many steps, a page holds fewer target runs. */
const maxStepsPerPage = 2_000;

export function runRoutes(deps: RunRouteDeps): RouteSpec[] {
  return [...startAndCancel(deps), ...reads(deps), outputRoute(deps), transfersRoute(deps)];
}

function startAndCancel(deps: RunRouteDeps): RouteSpec[] {
  return [
    route({
      method: 'POST',
      path: '/api/v1/jobs/:id/run',
      permission: 'run',
      scoped: true,
      summary: 'Start a run of a version of the job on targets',
      description:
        'Runs on what `targetIds`, `groupIds` and `selector` name together, minus `exclude`: this is resolved now and kept in the run. Needs `run` on the job’s category, `run` and `credentials.use` on each target, and `credentials.use` on the jump hosts that lead to it. If agents require signed runs, it needs a `grant`. Refused as a whole if a named target does not exist or is inactive, or if one has no credential or is in a segment that never had an agent. In a segment whose agents are offline, steps wait until `start_within`. With `Accept: text/event-stream`, the answer is the run’s stream, as from `GET /api/v1/runs/:id/events?output=all`, after one event `started` with the run’s id.',
      tag,
      params,
      body: StartRunRequestSchema,
      maxBodyBytes: limits.maxSignedRunBytes,
      example: {
        targetIds: [3, 4],
        version: 'stable',
        parameters: { service: 'nginx' },
        reason: 'Certificate was renewed',
      },
      success: startAnswers,
      takesRequestKey: true,
      handle: async (request) => {
        const {
          start_within: startWithinS,
          priority,
          strategy,
          timeout: timeoutS,
          version,
          parameters,
          secretParameters,
          reason,
          grant,
          ...selection
        } = request.body;
        const jobId = request.params.id;
        return start(deps, request, (requested, caller) =>
          startRun(
            deps,
            {
              ...{ jobId, selection, version, startWithinS, priority, strategy, timeoutS },
              ...{ parameters, secretParameters, reason, grant, requested },
            },
            caller,
          ),
        );
      },
    }),
    route({
      method: 'POST',
      path: '/api/v1/runs/:id/rerun',
      permission: 'run',
      scoped: true,
      summary: 'Run again on targets of an ended run',
      description:
        'A new run of the same version on those targets, as they are now; permissions and refusals are those of a start. The two name each other (`rerunOf`, `reruns`). With `Accept: text/event-stream`, the answer is the run’s stream, as for a start.',
      tag,
      params,
      body: RerunRequestSchema,
      example: { which: 'failed', from_step: 'failed' },
      success: startAnswers,
      takesRequestKey: true,
      handle: (request) =>
        start(deps, request, (requested, caller) =>
          rerun(deps, request.params.id, request.body, caller, requested),
        ),
    }),
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
        await purge(deps.sql, request.params.id, caller);
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

/** Returns whether the caller passes what a start checks before it looks at targets. */
function mayRunAgain({ categoryId }: RunRecord, authority: Authority): boolean {
  return (['read', 'run'] as const).every((permission) => authority.holdsOnCategory(permission, categoryId));
}

/** Parameter values are shown only to callers who see the whole run. */
async function detailOf(deps: RunRouteDeps, { run, isWhole, partTag }: SeenRun): Promise<RunDetail> {
  const detail = runDetailView(run, partTag);
  if (!isWhole) return { ...detail, versionRef: null, runReason: null };
  const [parameters, signature, untoldAttempts] = await Promise.all([
    shownParameters(deps, run),
    run.isSigned ? shownSignature(deps, run.id) : undefined,
    isRunEnded(run.status) && run.targetsUnknown > 0 ? countUntoldAttempts(deps.sql, run.id) : 0,
  ]);
  return { ...detail, parameters, untoldAttempts, ...(signature === undefined ? {} : { signature }) };
}

function reads(deps: RunRouteDeps): RouteSpec[] {
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
          detailOf(deps, seen),
          mayDirectRun(sql, seen.run, principal),
        ]);
        return { ...detail, mayRun: mayRunAgain(seen.run, principal.authority), mayCancel };
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
          ids: asked(query),
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

function targetRunsOnPage({ limit }: { limit?: number }, stepNames: readonly string[]): number {
  const few = Math.max(1, Math.floor(maxStepsPerPage / Math.max(1, stepNames.length)));
  return Math.min(limit ?? limits.defaultPageItems, maxTargetRunsPerPage, few);
}

/** Returns the id after which a page of target runs begins. */
function aboveOf({ cursor }: { cursor?: string }): number {
  return cursor === undefined ? 0 : (decodeCursor(cursor, ['number'])[0] ?? 0);
}

/** Returns the target runs that a query names; undefined for all. */
function asked(query: { targetRunId?: number; targetRunIds?: string }): number[] | undefined {
  const { targetRunId, targetRunIds } = query;
  if (targetRunIds === undefined) return targetRunId === undefined ? undefined : [targetRunId];
  const ids = targetRunIds.split(',').map(Number);
  return targetRunId === undefined ? ids : ids.filter((id) => id === targetRunId);
}

function transfersRoute(deps: RunRouteDeps): RouteSpec {
  return route({
    method: 'GET',
    path: '/api/v1/runs/:id/steps/:step/transfers',
    permission: 'read',
    scoped: true,
    summary: 'List the files that an attempt of a step has transferred',
    description:
      'Available once the attempt has ended: totals of all files, and up to 500 of them individually, failed ones first. While it runs, the run’s stream shows its progress (`transfer`).',
    tag,
    params: stepParams,
    query: StepTransfersQuerySchema,
    success: { status: 200, schema: StepTransfersSchema },
    handle: ({ params, query, principal }) => {
      const ref = { runId: params.id, stepId: params.step, epoch: query.attempt };
      return listTransfers(deps, ref, principal.authority);
    },
  });
}

function outputRoute(deps: RunRouteDeps): RouteSpec {
  return route({
    method: 'GET',
    path: '/api/v1/runs/:id/steps/:step/output',
    permission: 'read',
    scoped: true,
    summary: 'Read a step’s output: as numbered chunks, or as bytes with HTTP ranges',
    tag,
    params: stepParams,
    query: OutputQuerySchema,
    success: {
      status: 200,
      schema: OutputPageSchema,
      others: [
        { status: 200, contentType: 'text/plain' },
        { status: 200, contentType: 'application/octet-stream' },
        ...partAnswers('text/plain', 'application/octet-stream'),
      ],
    },
    errors: ['output_expired'],
    handle: async ({ params, query, principal, context }) => {
      const ref = { runId: params.id, stepId: params.step, epoch: query.attempt };
      const attempt = await findOutput(deps, ref, principal.authority.reach('read'));
      const format = query.format ?? 'chunks';
      if (format === 'chunks') {
        return readOutputPage(deps, attempt, {
          after: query.after ?? 0,
          maxRawBytes: query.maxBytes ?? 2 * 1024 * 1024,
          stream: query.stream,
        });
      }
      const length = await outputLength(deps, attempt, query.stream);
      return answerBytes(context.req.header('range'), {
        length,
        headers: bytesHeaders(format, `run-${params.id}-step-${params.step}`),
        read: ({ start, end }) =>
          readInTurns(principal.userId, readOutputBytes(deps, attempt, { start, end, stream: query.stream })),
      });
    },
  });
}

/** Output is hostile: it is only ever shown as text, and `raw` is always a download. */
function bytesHeaders(format: 'text' | 'raw', name: string): Record<string, string> {
  return {
    'Content-Type': format === 'text' ? 'text/plain; charset=utf-8' : 'application/octet-stream',
    'Content-Disposition': format === 'text' ? 'inline' : `attachment; filename="${name}.log"`,
  };
}

/**
 * Starts a run, or finds the one that the same request started before. Answers with the run's stream if the caller asks
 * for it.
 */
async function start(
  deps: RunRouteDeps,
  request: Asker & Parameters<typeof callerOf>[0] & { body: unknown },
  begin: (requested: RequestKey | undefined, caller: Caller) => Promise<Started>,
) {
  const { req } = request.context;
  const caller = callerOf(request);
  const asked = [req.path, request.body];
  const requested = requestKeyOf(req.header(requestKeyHeader), caller, asked);
  const started = await startOnce(deps, requested, caller, () => begin(requested, caller));
  deps.publish(started.news);
  const run = await startedRun(deps.sql, started);
  const repeated: Record<string, string> = started.isRepeated ? { 'Idempotent-Replayed': 'true' } : {};
  if (wantsEvents(req.header('accept')))
    return followStarted(deps.events, request, { run, isNew: started.isRepeated !== true }, repeated);
  return request.context.json(await detailOf(deps, { run, isWhole: true }), 201, repeated);
}

/** Returns the run that the caller has just started, whatever they may read. */
async function startedRun(sql: Sql, started: Started): Promise<RunRecord> {
  const { runId } = started;
  const run = await started.run.catch(() => findRun(sql, runId));
  if (run === undefined) throw notFound(`Run ${runId}`);
  return run;
}

async function cancel(deps: RunRouteDeps, runId: number, caller: Caller, force: boolean) {
  deps.publish(await cancelRun(deps.sql, runId, caller, { force }));
  return runView((await seeRun(deps.sql, runId, caller.authority)).run);
}

async function purge(sql: Sql, runId: number, caller: Caller): Promise<void> {
  await inTransaction(sql, async (tx) => {
    // Locked first, so that only one of several purges finds it.
    await lockRun(tx, runId);
    const { run } = await seeRun(tx, runId, caller.authority);
    if (!caller.authority.holdsOnCategory('runs.purge', run.categoryId)) {
      throw new MissingPermission(caller, 'runs.purge', `category “${run.category}”`);
    }
    if (!isRunEnded(run.status)) {
      throw new AppError('conflict', `Run ${runId} is still ${run.status}: cancel it first, then purge it.`);
    }
    await purgeRun(tx, runId);
    await recordAudit(tx, {
      ...auditedBy(caller),
      action: 'run.purged',
      object: { kind: 'run', id: runId },
      scope: { categoryId: run.categoryId },
      detail: { jobId: run.jobId, status: run.status },
    });
  });
}
