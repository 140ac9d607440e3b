import type {
  Credential,
  CredentialSort,
  CredentialUsage,
  UpdateCredentialRequest,
} from '@opsconductor/protocol';
import { apiPaths } from '../../paths.ts';
import { request } from '../client.ts';
import { isUnknownParameter } from '../older-server.ts';
import { type Page, type PageQuery, readAll } from '../page.ts';

export function listCredentials(
  signal?: AbortSignal,
  wanted: { segmentId?: number | undefined } = {},
): Promise<Credential[]> {
  return readAll((query) => apiPaths.credentials({ ...query, ...wanted }), { signal });
}

export async function listCredentialsByPage(
  query: PageQuery & {
    segmentId?: number | undefined;
    toRotate?: true;
    expiresBy?: string;
    search?: string;
    sort?: CredentialSort;
  },
  signal?: AbortSignal,
): Promise<Page<Credential>> {
  try {
    return await request('GET', apiPaths.credentials(query), { signal });
  } catch (error) {
    // Such a server lists the same credentials, by name.
    const { sort, ...rest } = query;
    if (sort === undefined || !isUnknownParameter(error)) throw error;
    return request('GET', apiPaths.credentials(rest), { signal });
  }
}

export function createCredential(body: unknown): Promise<Credential> {
  return request('POST', apiPaths.credentials(), { body });
}

export function replaceCredential(id: string, body: unknown): Promise<Credential> {
  return request('POST', apiPaths.credentialVersions(id), { body });
}

/** Updates the fields that are not sealed. */
export function updateCredential(id: string, change: UpdateCredentialRequest): Promise<Credential> {
  return request('PUT', apiPaths.credential(id), { body: change });
}

export function fetchCredential(id: string, signal?: AbortSignal): Promise<Credential> {
  return request('GET', apiPaths.credential(id), { signal });
}

export function fetchCredentialUsage(id: string, signal?: AbortSignal): Promise<CredentialUsage> {
  return request('GET', apiPaths.credentialUsage(id), { signal });
}

export function deleteCredential(id: string): Promise<void> {
  return request('DELETE', apiPaths.credential(id));
}
