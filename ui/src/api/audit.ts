import type { AuditCheckpoint, AuditQuery, AuditRow } from '@opsconductor/protocol';
import { apiPaths } from '../paths.ts';
import { ApiError, request } from './client.ts';
import type { Page } from './page.ts';

export function searchAudit(query: AuditQuery, signal?: AbortSignal): Promise<Page<AuditRow>> {
  return request('GET', apiPaths.audit({ ...query }), { signal });
}

/** Returns the latest checkpoint; null before the first one. */
export async function fetchCheckpoint(signal?: AbortSignal): Promise<AuditCheckpoint | null> {
  try {
    return await request<AuditCheckpoint>('GET', apiPaths.auditCheckpoint(), { signal });
  } catch (error) {
    if (error instanceof ApiError && error.code === 'not_found') return null;
    throw error;
  }
}
