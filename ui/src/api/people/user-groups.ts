import type {
  CreateUserGroupRequest,
  UpdateUserGroupRequest,
  UserGroup,
  UserGroupMember,
  UserGroupQuery,
} from '@opsconductor/protocol';
import { apiPaths } from '../../paths.ts';
import { request } from '../client.ts';
import { type Page, type PageQuery, readAll } from '../page.ts';

export function listUserGroups(query: UserGroupQuery, signal?: AbortSignal): Promise<Page<UserGroup>> {
  return request('GET', apiPaths.userGroups({ ...query }), { signal });
}

/** Reads all user groups, up to `atMost`. */
export function readUserGroups(atMost: number, signal?: AbortSignal): Promise<UserGroup[]> {
  return readAll((query) => apiPaths.userGroups(query), { atMost, signal });
}

export function fetchUserGroup(id: number, signal?: AbortSignal): Promise<UserGroup> {
  return request('GET', apiPaths.userGroup(id), { signal });
}

export function createUserGroup(group: CreateUserGroupRequest): Promise<UserGroup> {
  return request('POST', apiPaths.userGroups(), { body: group });
}

export function updateUserGroup(id: number, group: UpdateUserGroupRequest): Promise<UserGroup> {
  return request('PUT', apiPaths.userGroup(id), { body: group });
}

export function deleteUserGroup(id: number): Promise<void> {
  return request('DELETE', apiPaths.userGroup(id));
}

export function listMembers(
  id: number,
  query: PageQuery,
  signal?: AbortSignal,
): Promise<Page<UserGroupMember>> {
  return request('GET', apiPaths.userGroupMembers(id, { ...query }), { signal });
}

export function addMember(groupId: number, userId: number): Promise<void> {
  return request('PUT', apiPaths.userGroupMember(groupId, userId));
}

export function removeMember(groupId: number, userId: number): Promise<void> {
  return request('DELETE', apiPaths.userGroupMember(groupId, userId));
}
