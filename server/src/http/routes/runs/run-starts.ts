// Routes that start runs: of a job, and again on targets of a run that has ended.
import {
  Closed,
  Id,
  limits,
  RerunRequestSchema,
  RunDetailSchema,
  StartRunRequestSchema,
} from '@opsconductor/protocol';
import { type Caller, callerOf } from '../../../caller.ts';
import type { MasterKey } from '../../../credentials/at-rest/master-key.ts';
import { notFound } from '../../../errors.ts';
import type { ClaimsAlong } from '../../../runs/leases/claim-along.ts';
import { stepsOfWholeOutput } from '../../../runs/live/output-query.ts';
import type { ProgressNews } from '../../../runs/progress/run-ledger.ts';
import type { RunKeys } from '../../../runs/run-keys.ts';
import { rerun } from '../../../runs/start/rerun.ts';
import {
  type RequestKey,
  requestKeyHeader,
  requestKeyOf,
  startOnce,
} from '../../../runs/start/start-once.ts';
import { type ReadBack, type Started, startAndRead } from '../../../runs/start/start-run.ts';
import { runDetail } from '../../../runs/view/run-detail.ts';
import type { Sql } from '../../../store/database/connection.ts';
import { findRun } from '../../../store/runs/runs.ts';
import { runDetailExample } from '../../description/examples/runs.ts';
import { type RouteSpec, route } from '../../route.ts';
import { followStarted, type RunEventsDeps, type StreamRequest, wantsEvents } from './run-events.ts';

export interface RunStartDeps {
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

export function runStartRoutes(deps: RunStartDeps): RouteSpec[] {
  return [
    route({
      method: 'POST',
      path: '/api/v1/jobs/:id/run',
      permission: 'run',
      scoped: true,
      summary: 'Start a run of a version of the job on targets',
      description:
        'Runs on what `targetIds`, `groupIds` and `selector` name together, minus `exclude`: this is resolved now and kept in the run. Needs `run` on the job’s category, `run` and `credentials.use` on each target, and `credentials.use` on the jump hosts that lead to it. If agents require signed runs, it needs a `grant`. Refused as a whole if a named target does not exist or is inactive, or if one has no credential or is in a segment that never had an agent. In a segment whose agents are offline, steps wait until `start_within`. If the job has as many open runs as its `max_open_runs` allows, the start is refused with 409, which names them. With `Accept: text/event-stream`, the answer is the run’s stream, as from `GET /api/v1/runs/:id/events?output=all`, after one event `started` with the run’s id.',
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
        return start(deps, request, ({ requested, caller, readBack }) =>
          startAndRead(
            deps,
            {
              jobId,
              selection,
              version,
              startWithinS,
              priority,
              strategy,
              timeoutS,
              parameters,
              secretParameters,
              reason,
              grant,
              requested,
            },
            caller,
            readBack,
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
        start(deps, request, ({ requested, caller, readBack }) =>
          rerun(deps.sql, request.params.id, request.body, caller, (again) =>
            startAndRead(deps, { ...again, requested }, caller, readBack),
          ),
        ),
    }),
  ];
}

interface Begin<T> {
  requested: RequestKey | undefined;
  caller: Caller;
  readBack: ReadBack<T>;
}

/**
 * Starts a run, or finds the one that the same request started before. Answers with the run's stream if the caller asks
 * for it.
 */
async function start(
  deps: RunStartDeps,
  request: StreamRequest & Parameters<typeof callerOf>[0] & { body: unknown },
  begin: <T>(what: Begin<T>) => Promise<Started<T>>,
) {
  const { req } = request.context;
  const caller = callerOf(request);
  const requested = requestKeyOf(req.header(requestKeyHeader), caller, [req.path, request.body]);
  // Whoever has started a run is answered with it, whatever they may read.
  const startAnd = async <T>(readBack: ReadBack<T>) => {
    const started = await startOnce(deps, requested, caller, () => begin({ requested, caller, readBack }));
    deps.publish(started.news);
    const { runId, isRepeated } = started;
    const read = (await started.read?.catch(() => undefined)) ?? (await readBack(deps.sql, runId));
    return { runId, read, isRepeated };
  };
  const headers = (isRepeated: boolean): Record<string, string> =>
    isRepeated ? { 'Idempotent-Replayed': 'true' } : {};
  if (wantsEvents(req.header('accept'))) {
    const { runId, read: stepIds, isRepeated } = await startAnd(stepsOfWholeOutput);
    return followStarted(deps.events, request, { runId, stepIds, isNew: !isRepeated }, headers(isRepeated));
  }
  const { runId, read: run, isRepeated } = await startAnd(findRun);
  if (run === undefined) throw notFound(`Run ${runId}`);
  return request.context.json(await runDetail(deps, { run, isWhole: true }), 201, headers(isRepeated));
}
