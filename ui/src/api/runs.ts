import type {
  Attempt,
  Attempts,
  Decided,
  DecideRequest,
  ExecutorOverview,
  ExecutorStatus,
  HeldSteps,
  OutputPage,
  RerunRequest,
  Run,
  RunDetail,
  RunExplanation,
  RunPage,
  RunQuery,
  RunSteps,
  SshConnectionPage,
  Step,
  StepTransfers,
  TargetRun,
  TargetRunPage,
} from '@opsconductor/protocol';
import { apiPaths } from '../paths.ts';
import { ApiError, request } from './client.ts';
import type { PageQuery } from './page.ts';

type RunListQuery = Omit<RunQuery, 'cursor' | 'limit'>;

export function listRuns(query: PageQuery & RunListQuery, signal?: AbortSignal): Promise<RunPage> {
  return request('GET', apiPaths.runs({ ...query }), { signal });
}

export function fetchRun(id: number, signal?: AbortSignal): Promise<RunDetail> {
  return request('GET', apiPaths.run(id), { signal });
}

export function fetchRunSteps(
  id: number,
  query: PageQuery & { targetRunId?: number },
  signal?: AbortSignal,
): Promise<RunSteps> {
  return request('GET', apiPaths.runSteps(id, { ...query }), { signal });
}

/** Returns a page of a run's hosts, without their steps. */
export function fetchTargetRuns(
  id: number,
  query: PageQuery & { mayRun?: true },
  signal?: AbortSignal,
): Promise<TargetRunPage> {
  return request('GET', apiPaths.targetRuns(id, { ...query }), { signal });
}

export function listSshConnections(
  id: number,
  query: PageQuery,
  signal?: AbortSignal,
): Promise<SshConnectionPage> {
  return request('GET', apiPaths.sshConnections(id, { ...query }), { signal });
}

/** Returns the steps of some hosts, at most 100. */
export async function fetchStepsOf(
  id: number,
  targetRunIds: readonly number[],
  signal?: AbortSignal,
): Promise<Step[]> {
  const steps: Step[] = [];
  try {
    for (let cursor: string | undefined, isFirst = true; isFirst || cursor !== undefined; isFirst = false) {
      const at = cursor === undefined ? {} : { cursor };
      const query = { limit: 200, targetRunIds: targetRunIds.join(), ...at };
      const page: RunSteps = await request('GET', apiPaths.runSteps(id, query), { signal });
      steps.push(...page.steps);
      cursor = page.nextCursor ?? undefined;
    }
    return steps;
  } catch (error) {
    if (!(error instanceof ApiError) || error.code !== 'invalid') throw error;
  }
  // During an upgrade, a server of an earlier version may answer: it takes only one host at a time.
  const all: Step[] = [];
  for (const targetRunId of targetRunIds)
    all.push(...(await fetchRunSteps(id, { targetRunId }, signal)).steps);
  return all;
}

/** Cancels a run; with `force`, without waiting for any agent. */
export function cancelRun(id: number, force = false): Promise<Run> {
  return request('POST', apiPaths.cancelRun(id, force ? { force } : {}));
}

/** Deletes a run that has ended, with all that it printed and kept. */
export function purgeRun(id: number): Promise<void> {
  return request('DELETE', apiPaths.run(id, { purge: true }));
}

/** Cancels one host of a run; with `force`, without waiting for any agent. */
export function cancelTargetRun(id: number, targetRunId: number, force = false): Promise<TargetRun> {
  return request('POST', apiPaths.cancelTargetRun(id, targetRunId, force ? { force } : {}));
}

/**
 * Runs the run's version again on some of its targets.
 * @param requestKey a repeated request with the same key doesn't start a second run
 */
export function rerun(id: number, choice: RerunRequest, requestKey: string): Promise<RunDetail> {
  return request('POST', apiPaths.rerun(id), { body: choice, headers: { 'idempotency-key': requestKey } });
}

/** Explains why the waiting parts of a run are waiting. */
export function fetchExplanation(id: number, signal?: AbortSignal): Promise<RunExplanation> {
  return request('GET', apiPaths.runExplanation(id), { signal });
}

export function fetchHeldSteps(id: number, signal?: AbortSignal): Promise<HeldSteps> {
  return request('GET', apiPaths.runDecisions(id), { signal });
}

/** Decides all of the given held steps or none; `conflict` if one of them has changed since it was shown. */
export function decideHeldSteps(id: number, decision: DecideRequest): Promise<Decided> {
  return request('POST', apiPaths.runDecisions(id), { body: decision });
}

export async function fetchAttempts(runId: number, stepId: number, signal?: AbortSignal): Promise<Attempt[]> {
  const { items } = await request<Attempts>('GET', apiPaths.stepAttempts(runId, stepId), { signal });
  return items;
}

export function fetchTransfers(
  runId: number,
  stepId: number,
  attempt: number,
  signal?: AbortSignal,
): Promise<StepTransfers> {
  return request('GET', apiPaths.stepTransfers(runId, stepId, { attempt }), { signal });
}

export interface OutputRange {
  after: number;
  maxBytes: number;
  attempt?: number | undefined;
}

export function fetchOutput(
  runId: number,
  stepId: number,
  range: OutputRange,
  signal?: AbortSignal,
): Promise<OutputPage> {
  return request('GET', apiPaths.stepOutput(runId, stepId, { format: 'chunks', ...range }), { signal });
}

export function fetchExecutorStatus(signal?: AbortSignal): Promise<ExecutorStatus> {
  return request('GET', apiPaths.executorStatus(), { signal });
}

export function fetchExecutorOverview(signal?: AbortSignal): Promise<ExecutorOverview> {
  return request('GET', apiPaths.executorOverview(), { signal });
}
