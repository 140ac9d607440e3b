// A job's versions and their names, its history, statistics and health, its state, and its deletion.
import type {
  Job,
  JobHealth,
  JobHistoryEntry,
  JobState,
  JobStatistics,
  JobsHealth,
  JobVersion,
  JobVersionHead,
  SaveJobReply,
  VersionComparison,
  VersionNameKind,
} from '@opsconductor/protocol';
import { apiPaths } from '../../paths.ts';
import { request } from '../client.ts';
import type { Page, PageQuery } from '../page.ts';

export function listVersions(
  id: number,
  query: PageQuery,
  signal?: AbortSignal,
): Promise<Page<JobVersionHead>> {
  return request('GET', apiPaths.jobVersions(id, { ...query }), { signal });
}

/** @param version number, tag or channel */
export function fetchVersion(
  id: number,
  version: string | number,
  signal?: AbortSignal,
): Promise<JobVersion> {
  return request('GET', apiPaths.jobVersion(id, version), { signal });
}

export function compareVersions(
  id: number,
  query: { from: string | number; to: string | number },
  signal?: AbortSignal,
): Promise<VersionComparison> {
  return request('GET', apiPaths.jobComparison(id, query), { signal });
}

/** Makes a new version with the content of an earlier one. */
export function rollBack(
  id: number,
  body: { version: number; expectedVersion: number; note?: string },
): Promise<SaveJobReply> {
  return request('POST', apiPaths.jobRollback(id), { body });
}

export function nameVersion(id: number, kind: VersionNameKind, name: string, version: number): Promise<void> {
  return request('PUT', namePath(id, kind, name), { body: { version } });
}

export function removeVersionName(id: number, kind: VersionNameKind, name: string): Promise<void> {
  return request('DELETE', namePath(id, kind, name));
}

function namePath(id: number, kind: VersionNameKind, name: string): string {
  return kind === 'tag' ? apiPaths.jobTag(id, name) : apiPaths.jobChannel(id, name);
}

export function listJobHistory(
  id: number,
  query: PageQuery,
  signal?: AbortSignal,
): Promise<Page<JobHistoryEntry>> {
  return request('GET', apiPaths.jobHistory(id, { ...query }), { signal });
}

export function fetchJobStatistics(id: number, days: number, signal?: AbortSignal): Promise<JobStatistics> {
  return request('GET', apiPaths.jobStatistics(id, { days }), { signal });
}

export function fetchJobHealth(id: number, signal?: AbortSignal): Promise<JobHealth> {
  return request('GET', apiPaths.jobHealth(id), { signal });
}

/** Returns the health of all jobs that the caller may see, with a page of the unhealthy ones. */
export function fetchJobsHealth(query: PageQuery, signal?: AbortSignal): Promise<JobsHealth> {
  return request('GET', apiPaths.jobsHealth({ ...query }), { signal });
}

export function changeJobState(id: number, state: JobState, note: string): Promise<Job> {
  return request('POST', apiPaths.jobState(id), { body: { state, ...(note === '' ? {} : { note }) } });
}

export function deleteJob(id: number): Promise<void> {
  return request('DELETE', apiPaths.job(id));
}
