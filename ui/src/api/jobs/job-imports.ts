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

/** Uploads a file and starts reading it. The plan is there once the server has read it. */
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

/** Returns the caller's newest imports. */
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

/** Starts applying an import; doesn't wait until it is done. */
export function applyJobImport(id: string): Promise<JobImport> {
  return request('POST', apiPaths.applyImportOfJobs(id), { body: {} });
}

export function forgetJobImport(id: string): Promise<void> {
  return request('DELETE', apiPaths.importOfJobs(id));
}
