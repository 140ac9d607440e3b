import type {
  BulkJobReply,
  BulkJobRequest,
  CreateJobFromTemplate,
  GrantDraft,
  GrantDraftRequest,
  Job,
  JobCounts,
  JobDefinition,
  JobLabelsInUse,
  JobListItem,
  JobPage,
  JobQuery,
  RunDetail,
  RunSealingKeys,
  RunSealingKeysRequest,
  SaveJobReply,
  ShownJob,
  StartRunRequest,
  ValidateJobReply,
} from '@opsconductor/protocol';
import { apiPaths } from '../../paths.ts';
import { request } from '../client.ts';
import { type PageQuery, readAll, readWhole } from '../page.ts';

type Listed = Omit<JobQuery, 'cursor' | 'limit'>;
type JobListQuery = { [Name in keyof Listed]?: Listed[Name] | undefined };

export function listJobs(query: PageQuery & JobListQuery, signal?: AbortSignal): Promise<JobPage> {
  return request('GET', apiPaths.jobs({ ...query }), { signal });
}

export function readJobs(atMost: number, query: JobListQuery): Promise<JobListItem[]> {
  return readAll((page) => apiPaths.jobs({ ...query, ...page }), { atMost });
}

export function fetchJobCounts(signal?: AbortSignal): Promise<JobCounts> {
  return request('GET', apiPaths.jobCounts(), { signal });
}

export function listJobLabels(signal?: AbortSignal): Promise<JobLabelsInUse['items']> {
  return readWhole(apiPaths.jobLabels(), signal);
}

/** Applies one action to many jobs: to all of them or to none. */
export function changeJobs(body: BulkJobRequest, signal?: AbortSignal): Promise<BulkJobReply> {
  return request('POST', apiPaths.bulkJobs(), { body, harmless: body.dryRun === true, signal });
}

export function fetchJob(id: number, signal?: AbortSignal): Promise<ShownJob> {
  return request('GET', apiPaths.job(id), { signal });
}

export function createJob(definition: JobDefinition, note = ''): Promise<Job> {
  return request('POST', apiPaths.jobs(), { body: note === '' ? definition : { definition, note } });
}

/** Creates a job from a template (the console says "starter"). */
export function createFromTemplate(body: CreateJobFromTemplate): Promise<Job> {
  return request('POST', apiPaths.jobs(), { body });
}

/** Saves the next version. Refused if another one has been saved since `expectedVersion`. */
export async function saveJob(
  id: number,
  { note, ...body }: { definition: JobDefinition; expectedVersion: number; note: string },
): Promise<SaveJobReply> {
  return await request('PUT', apiPaths.job(id), { body: { ...body, ...(note === '' ? {} : { note }) } });
}

/** Checks a definition as a save would, without saving it. */
export function checkJob(
  { note, ...body }: { definition: JobDefinition; jobId?: number | undefined; note: string },
  signal?: AbortSignal,
): Promise<ValidateJobReply> {
  return request('POST', apiPaths.checkJob(), {
    body: { ...body, ...(note === '' ? {} : { note }) },
    harmless: true,
    signal,
  });
}

/** @param requestKey a repeated request with the same key doesn't start a second run */
export function startRun(jobId: number, body: StartRunRequest, requestKey: string): Promise<RunDetail> {
  return request('POST', apiPaths.jobRun(jobId), { body, headers: { 'idempotency-key': requestKey } });
}

/** Returns what a signer has to sign for a run. Refused if starting the run would be refused. */
export function fetchGrantDraft(jobId: number, body: GrantDraftRequest): Promise<GrantDraft> {
  return request('POST', apiPaths.jobGrantDraft(jobId), { body, harmless: true });
}

export function fetchRunSealingKeys(jobId: number, where: RunSealingKeysRequest): Promise<RunSealingKeys> {
  return request('POST', apiPaths.jobSealingKeys(jobId), { body: where, harmless: true });
}
