import type { AuditCheckpoint, AuditPage, AuditQuery, AuditRow } from '@opsconductor/protocol';
import { apiPaths } from '../paths.ts';
import { ApiError, request } from './client.ts';

export function searchAudit(query: AuditQuery, signal?: AbortSignal): Promise<AuditPage> {
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

/** Returns the newest row that matches, however often the server ends the search before it is done. */
export async function findAudit(query: AuditQuery, signal?: AbortSignal): Promise<AuditRow | undefined> {
  let page = await searchAudit({ ...query, limit: 1 }, signal);
  while (page.items.length === 0 && page.nextCursor !== null)
    page = await searchAudit({ ...query, limit: 1, cursor: page.nextCursor }, signal);
  return page.items[0];
}
