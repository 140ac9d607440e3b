import type { ExecutorStatus, OutputPage, Run, RunDetail, RunSteps } from '@opsconductor/protocol';
import { apiPaths } from '../paths.ts';
import { request } from './client.ts';
import type { Page, PageQuery } from './page.ts';

export interface RunFilter {
  status?: string | undefined;
  jobId?: number | undefined;
  targetId?: number | undefined;
}

export function listRuns(query: PageQuery & RunFilter, signal?: AbortSignal): Promise<Page<Run>> {
  return request('GET', apiPaths.runs({ ...query }), { signal });
}

export function fetchRun(id: number, signal?: AbortSignal): Promise<RunDetail> {
  return request('GET', apiPaths.run(id), { signal });
}

export function fetchRunSteps(id: number, query: PageQuery, signal?: AbortSignal): Promise<RunSteps> {
  return request('GET', apiPaths.runSteps(id, { ...query }), { signal });
}

export function cancelRun(id: number): Promise<Run> {
  return request('POST', apiPaths.cancelRun(id));
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
