import type { GroupEntry, TargetGroup, TargetGroupRequest } from '@opsconductor/protocol';
import { apiPaths } from '../../paths.ts';
import { request } from '../client.ts';
import { type Page, type PageQuery, readAll } from '../page.ts';

export function listTargetGroups(
  query: PageQuery & { search?: string | undefined },
  signal?: AbortSignal,
): Promise<Page<TargetGroup>> {
  return request('GET', apiPaths.targetGroups({ ...query }), { signal });
}

/** All of them, up to `atMost`. */
export function readTargetGroups(atMost: number, signal?: AbortSignal): Promise<TargetGroup[]> {
  return readAll((query) => apiPaths.targetGroups(query), { atMost, signal });
}

export function fetchTargetGroup(id: number, signal?: AbortSignal): Promise<TargetGroup> {
  return request('GET', apiPaths.targetGroup(id), { signal });
}

/** Targets that were put on the group's list or excluded from it, all of them. */
export function readGroupEntries(id: number, signal?: AbortSignal): Promise<GroupEntry[]> {
  return readAll((query) => apiPaths.targetGroupEntries(id, { ...query }), { signal });
}

export function createTargetGroup(group: TargetGroupRequest): Promise<TargetGroup> {
  return request('POST', apiPaths.targetGroups(), { body: group });
}

/** What is left out stays as it is. */
export function updateTargetGroup(id: number, group: TargetGroupRequest): Promise<TargetGroup> {
  return request('PUT', apiPaths.targetGroup(id), { body: group });
}

export function deleteTargetGroup(id: number): Promise<void> {
  return request('DELETE', apiPaths.targetGroup(id));
}
