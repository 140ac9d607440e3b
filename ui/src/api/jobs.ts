import type { Job, JobDefinition, JobListItem, RunDetail, TargetSelection } from '@opsconductor/protocol';
import { apiPaths } from '../paths.ts';
import { request } from './client.ts';
import type { Page, PageQuery } from './page.ts';

export function listJobs(
  query: PageQuery & { search?: string | undefined; category?: string | undefined },
  signal?: AbortSignal,
): Promise<Page<JobListItem>> {
  return request('GET', apiPaths.jobs({ ...query }), { signal });
}

export function fetchJob(id: number, signal?: AbortSignal): Promise<Job> {
  return request('GET', apiPaths.job(id), { signal });
}

export function createJob(definition: JobDefinition, note = ''): Promise<Job> {
  return request('POST', apiPaths.jobs(), { body: note === '' ? definition : { definition, note } });
}

/** The next version; refused where another one was saved since the expected one. */
export async function saveJob(
  id: number,
  { note, ...body }: { definition: JobDefinition; expectedVersion: number; note: string },
): Promise<Job> {
  const reply = await request<{ job: Job }>('PUT', apiPaths.job(id), {
    body: { ...body, ...(note === '' ? {} : { note }) },
  });
  return reply.job;
}

export function startRun(jobId: number, selection: TargetSelection): Promise<RunDetail> {
  return request('POST', apiPaths.jobRun(jobId), { body: selection });
}
