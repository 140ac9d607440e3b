import type {
  CreateTargetGroupRequest,
  GroupEntry,
  TargetGroup,
  UpdateTargetGroupRequest,
} from '@opsconductor/protocol';
import { apiPaths } from '../../paths.ts';
import { request } from '../client.ts';
import { type Page, type PageQuery, readAll } from '../page.ts';

export function listTargetGroups(
  query: PageQuery & { search?: string | undefined },
  signal?: AbortSignal,
): Promise<Page<TargetGroup>> {
  return request('GET', apiPaths.targetGroups({ ...query }), { signal });
}

/** Reads all target groups, up to `atMost`. */
export function readTargetGroups(atMost: number, signal?: AbortSignal): Promise<TargetGroup[]> {
  return readAll((query) => apiPaths.targetGroups(query), { atMost, signal });
}

export function fetchTargetGroup(id: number, signal?: AbortSignal): Promise<TargetGroup> {
  return request('GET', apiPaths.targetGroup(id), { signal });
}

/** Reads all targets that are listed in the group or excluded from it. */
export function readGroupEntries(id: number, signal?: AbortSignal): Promise<GroupEntry[]> {
  return readAll((query) => apiPaths.targetGroupEntries(id, { ...query }), { signal });
}

export function createTargetGroup(group: CreateTargetGroupRequest): Promise<TargetGroup> {
  return request('POST', apiPaths.targetGroups(), { body: group });
}

/** Updates a group. Fields that are left out stay unchanged. */
export function updateTargetGroup(id: number, change: UpdateTargetGroupRequest): Promise<TargetGroup> {
  return request('PUT', apiPaths.targetGroup(id), { body: change });
}

export function deleteTargetGroup(id: number): Promise<void> {
  return request('DELETE', apiPaths.targetGroup(id));
}
