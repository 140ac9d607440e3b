// Routes of user groups and their members.
import {
  Closed,
  CreateUserGroupRequestSchema,
  Id,
  pageQuery,
  UpdateUserGroupRequestSchema,
  UserGroupMemberPageSchema,
  UserGroupPageSchema,
  UserGroupQuerySchema,
  UserGroupSchema,
} from '@opsconductor/protocol';
import { callerOf } from '../../../caller.ts';
import type { PeopleDeps } from '../../../people/people-deps.ts';
import {
  addUserGroupMember,
  createUserGroup,
  deleteUserGroup,
  getUserGroup,
  listUserGroupMembers,
  listUserGroups,
  removeUserGroupMember,
  updateUserGroup,
} from '../../../people/user-groups.ts';
import { type RouteSpec, route } from '../../route.ts';

const tag = 'people';
const permission = 'people.edit';
const params = Closed({ id: Id });
const memberParams = Closed({ id: Id, user: Id });

export function userGroupRoutes(deps: PeopleDeps): RouteSpec[] {
  return [...editRoutes(deps), ...memberRoutes(deps)];
}

function editRoutes(deps: PeopleDeps): RouteSpec[] {
  return [
    route({
      method: 'GET',
      path: '/api/v1/user-groups',
      permission,
      summary: 'List user groups by name',
      tag,
      query: UserGroupQuerySchema,
      success: { status: 200, schema: UserGroupPageSchema },
      handle: ({ query }) => listUserGroups(deps, query),
    }),
    route({
      method: 'POST',
      path: '/api/v1/user-groups',
      permission,
      summary: 'Create a user group',
      description: 'All members of a group hold what is granted to it.',
      tag,
      body: CreateUserGroupRequestSchema,
      success: { status: 201, schema: UserGroupSchema },
      handle: (request) => createUserGroup(deps, request.body, callerOf(request)),
    }),
    route({
      method: 'GET',
      path: '/api/v1/user-groups/:id',
      permission,
      summary: 'Get a user group',
      tag,
      params,
      success: { status: 200, schema: UserGroupSchema },
      handle: (request) => getUserGroup(deps, request.params.id),
    }),
    route({
      method: 'PUT',
      path: '/api/v1/user-groups/:id',
      permission,
      summary: 'Rename or describe a user group',
      description:
        'Fields that are left out stay unchanged. `expected` gives the values that fields had before the change; if any of them differs by now, the answer is 409, with a detail for each.',
      tag,
      params,
      body: UpdateUserGroupRequestSchema,
      success: { status: 200, schema: UserGroupSchema },
      handle: (request) => updateUserGroup(deps, request.params.id, request.body, callerOf(request)),
    }),
    route({
      method: 'DELETE',
      path: '/api/v1/user-groups/:id',
      permission,
      summary: 'Delete a user group with its grants',
      description: 'Its members stay users. Refused if the last administrator is one through this group.',
      tag,
      params,
      success: { status: 204 },
      handle: (request) => deleteUserGroup(deps, request.params.id, callerOf(request)),
    }),
  ];
}

function memberRoutes(deps: PeopleDeps): RouteSpec[] {
  return [
    route({
      method: 'GET',
      path: '/api/v1/user-groups/:id/members',
      permission,
      summary: 'List the members of a user group by name',
      tag,
      params,
      query: Closed(pageQuery),
      success: { status: 200, schema: UserGroupMemberPageSchema },
      handle: ({ params, query }) => listUserGroupMembers(deps, params.id, query),
    }),
    route({
      method: 'PUT',
      path: '/api/v1/user-groups/:id/members/:user',
      permission,
      summary: 'Add a user to a user group',
      description:
        'Does nothing for a user who is already in it. Refused for a group that holds more than the caller.',
      tag,
      params: memberParams,
      success: { status: 204 },
      handle: (request) =>
        addUserGroupMember(deps, request.params.id, request.params.user, callerOf(request)),
    }),
    route({
      method: 'DELETE',
      path: '/api/v1/user-groups/:id/members/:user',
      permission,
      summary: 'Remove a user from a user group',
      tag,
      params: memberParams,
      success: { status: 204 },
      handle: (request) =>
        removeUserGroupMember(deps, request.params.id, request.params.user, callerOf(request)),
    }),
  ];
}
