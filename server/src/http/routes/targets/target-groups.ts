import {
  Closed,
  CreateTargetGroupRequestSchema,
  GroupEntryQuerySchema,
  GroupEntrySchema,
  Id,
  Page,
  TargetGroupQuerySchema,
  TargetGroupSchema,
  UpdateTargetGroupRequestSchema,
} from '@opsconductor/protocol';
import { callerOf } from '../../../caller.ts';
import type { Sql } from '../../../store/database/connection.ts';
import {
  createTargetGroup,
  deleteTargetGroup,
  updateTargetGroup,
} from '../../../target-groups/edit-target-groups.ts';
import {
  getTargetGroup,
  listGroupEntries,
  listTargetGroups,
} from '../../../target-groups/list-target-groups.ts';
import { type RouteSpec, route } from '../../route.ts';

const tag = 'target groups';
const params = Closed({ id: Id });
const path = '/api/v1/target-groups';

export function targetGroupRoutes(deps: { sql: Sql }): RouteSpec[] {
  return [...readRoutes(deps), ...editRoutes(deps)];
}

function readRoutes({ sql }: { sql: Sql }): RouteSpec[] {
  return [
    route({
      method: 'GET',
      path,
      permission: 'read',
      scoped: true,
      summary: 'List target groups by name',
      description:
        'A caller who may read only some of a group’s targets sees its name and how many those are, but not how it is composed.',
      tag,
      query: TargetGroupQuerySchema,
      success: { status: 200, schema: Page(TargetGroupSchema) },
      handle: ({ query, principal }) => listTargetGroups(sql, query, principal.authority.reach('read')),
    }),
    route({
      method: 'GET',
      path: `${path}/:id`,
      permission: 'read',
      scoped: true,
      summary: 'Get a target group',
      description: 'Its members are listed by `GET /api/v1/targets?groupId=…`.',
      tag,
      params,
      success: { status: 200, schema: TargetGroupSchema },
      handle: ({ params, principal }) => getTargetGroup(sql, params.id, principal.authority.reach('read')),
    }),
    route({
      method: 'GET',
      path: `${path}/:id/entries`,
      permission: 'read',
      scoped: true,
      summary: 'List the targets that are on a group’s list or excluded from it',
      tag,
      params,
      query: GroupEntryQuerySchema,
      success: { status: 200, schema: Page(GroupEntrySchema) },
      handle: ({ params, query, principal }) =>
        listGroupEntries(sql, params.id, query, principal.authority.reach('read')),
    }),
  ];
}

function editRoutes({ sql }: { sql: Sql }): RouteSpec[] {
  return [
    route({
      method: 'POST',
      path,
      permission: 'target_groups.edit',
      summary: 'Create a target group',
      description:
        'Its members are the listed targets and those that the selector selects, minus the excluded ones. Rights are granted on the members, so they follow each change of the group or a target at once.',
      tag,
      body: CreateTargetGroupRequestSchema,
      success: { status: 201, schema: TargetGroupSchema },
      handle: (request) => createTargetGroup(sql, request.body, callerOf(request)),
    }),
    route({
      method: 'PUT',
      path: `${path}/:id`,
      permission: 'target_groups.edit',
      summary: 'Change a target group',
      description:
        'Fields that are left out stay unchanged; lists that are given replace the previous ones. `expected` gives the values that fields had before the change; if any of them differs by now, the answer is 409, with a detail for each.',
      tag,
      params,
      body: UpdateTargetGroupRequestSchema,
      success: { status: 200, schema: TargetGroupSchema },
      handle: (request) => updateTargetGroup(sql, request.params.id, request.body, callerOf(request)),
    }),
    route({
      method: 'DELETE',
      path: `${path}/:id`,
      permission: 'target_groups.edit',
      summary: 'Delete a target group and the grants on it',
      tag,
      params,
      success: { status: 204 },
      handle: (request) => deleteTargetGroup(sql, request.params.id, callerOf(request)),
    }),
  ];
}
