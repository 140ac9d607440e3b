import type {
  CreateJobImportQuery,
  ImportChoicesRequest,
  JobImport,
  JobImportHead,
  JobImportItemDetail,
  JobImportQuery,
} from '@opsconductor/protocol';
import { apiPaths } from '../../paths.ts';
import { request } from '../client.ts';
import type { PageQuery } from '../page.ts';

/** Begins to read a file; its plan is there once that is done. */
export function planJobImport(
  file: Blob,
  type: 'application/json' | 'application/yaml',
  query: CreateJobImportQuery,
): Promise<JobImport> {
  return request('POST', apiPaths.importsOfJobs({ ...query }), {
    file: { content: file, type },
    harmless: true,
  });
}

/** The newest ones of who asks. */
export async function listJobImports(signal?: AbortSignal): Promise<JobImportHead[]> {
  const reply = await request<{ items: JobImportHead[] }>('GET', apiPaths.importsOfJobs(), { signal });
  return reply.items;
}

export function fetchJobImport(
  id: string,
  query: PageQuery & Omit<JobImportQuery, 'cursor' | 'limit'>,
  signal?: AbortSignal,
): Promise<JobImport> {
  return request('GET', apiPaths.importOfJobs(id, { ...query }), { signal });
}

export function fetchImportedJob(
  id: string,
  position: number,
  signal?: AbortSignal,
): Promise<JobImportItemDetail> {
  return request('GET', apiPaths.importedJob(id, position), { signal });
}

export function chooseForImport(id: string, body: ImportChoicesRequest): Promise<JobImport> {
  return request('POST', apiPaths.chooseForImport(id), { body });
}

/** Begins to apply it. */
export function applyJobImport(id: string): Promise<JobImport> {
  return request('POST', apiPaths.applyImportOfJobs(id), { body: {} });
}

export function forgetJobImport(id: string): Promise<void> {
  return request('DELETE', apiPaths.importOfJobs(id));
}
