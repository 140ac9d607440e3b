// Routes of grants: roles and permissions of users and user groups.
import {
  Closed,
  CreateGrantRequestSchema,
  GrantQuerySchema,
  Id,
  RoleGrantPageSchema,
  RoleGrantSchema,
} from '@opsconductor/protocol';
import { callerOf } from '../../../caller.ts';
import { createGrant, deleteGrant, listGrants } from '../../../people/edit-grants.ts';
import type { PeopleDeps } from '../../../people/people-deps.ts';
import { type RouteSpec, route } from '../../route.ts';

const tag = 'people';
const permission = 'people.edit';

export function grantRoutes(deps: PeopleDeps): RouteSpec[] {
  return [
    route({
      method: 'GET',
      path: '/api/v1/grants',
      permission,
      summary: 'List grants, newest first',
      description:
        'With `userId`, only the user’s own grants; those through their groups are in `/users/:id/access`.',
      tag,
      query: GrantQuerySchema,
      success: { status: 200, schema: RoleGrantPageSchema },
      handle: ({ query }) => listGrants(deps, query),
    }),
    route({
      method: 'POST',
      path: '/api/v1/grants',
      permission,
      summary: 'Grant a role or one permission',
      description:
        'To a user or a user group; everywhere, or on a category, segment or target group. Nobody grants what they do not hold there themselves.',
      tag,
      body: CreateGrantRequestSchema,
      success: { status: 201, schema: RoleGrantSchema },
      handle: (request) => createGrant(deps, request.body, callerOf(request)),
    }),
    route({
      method: 'DELETE',
      path: '/api/v1/grants/:id',
      permission,
      summary: 'Revoke a grant',
      description: 'Takes effect at once. Refused for the last administrator’s grant.',
      tag,
      params: Closed({ id: Id }),
      success: { status: 204 },
      handle: (request) => deleteGrant(deps, request.params.id, callerOf(request)),
    }),
  ];
}
