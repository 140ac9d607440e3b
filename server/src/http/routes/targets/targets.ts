import {
  AcceptHostKeyRequestSchema,
  Closed,
  CreateTargetRequestSchema,
  Id,
  TargetPageSchema,
  TargetQuerySchema,
  TargetSchema,
  TestResultSchema,
  UpdateTargetRequestSchema,
} from '@opsconductor/protocol';
import { callerOf } from '../../../caller.ts';
import type { Sql } from '../../../store/database/connection.ts';
import { inTransaction } from '../../../store/database/transaction.ts';
import { createTarget, deleteTarget, updateTarget } from '../../../targets/edit-targets.ts';
import { acceptHostKey } from '../../../targets/host-keys.ts';
import { getTarget, listTargets } from '../../../targets/list-targets.ts';
import { type TargetTester, testTarget } from '../../../targets/test-target.ts';
import { type RouteSpec, route } from '../../route.ts';

export interface TargetRouteDeps {
  sql: Sql;
  agents: TargetTester;
}

const tag = 'targets';
const params = Closed({ id: Id });

export function targetRoutes(deps: TargetRouteDeps): RouteSpec[] {
  return [...readRoutes(deps), ...editRoutes(deps), ...connectionRoutes(deps)];
}

function readRoutes({ sql }: TargetRouteDeps): RouteSpec[] {
  return [
    route({
      method: 'GET',
      path: '/api/v1/targets',
      permission: 'read',
      scoped: true,
      summary: 'List targets by name',
      description:
        '`selector` is a selector as in groups; with `count=true`, `total` is the number on all pages.',
      tag,
      query: TargetQuerySchema,
      success: { status: 200, schema: TargetPageSchema },
      handle: ({ query, principal }) => listTargets(sql, query, principal.authority.reach('read')),
    }),
    route({
      method: 'GET',
      path: '/api/v1/targets/:id',
      permission: 'read',
      scoped: true,
      summary: 'Get a target',
      tag,
      params,
      success: { status: 200, schema: TargetSchema },
      handle: ({ params, principal }) => getTarget(sql, params.id, principal.authority.reach('read')),
    }),
  ];
}

function editRoutes({ sql }: TargetRouteDeps): RouteSpec[] {
  return [
    route({
      method: 'POST',
      path: '/api/v1/targets',
      permission: 'targets.edit',
      scoped: true,
      summary: 'Create a target',
      tag,
      body: CreateTargetRequestSchema,
      success: { status: 201, schema: TargetSchema },
      handle: (request) => createTarget(sql, request.body, callerOf(request)),
    }),
    route({
      method: 'PUT',
      path: '/api/v1/targets/:id',
      permission: 'targets.edit',
      scoped: true,
      summary: 'Change a target',
      description:
        'Fields that are left out stay unchanged; null removes its own port or credential, so that it inherits one. Another host or port counts as another machine: its host keys are forgotten. `expected` gives the values that fields had before the change; if any of them differs by now, the answer is 409, with a detail for each.',
      tag,
      params,
      body: UpdateTargetRequestSchema,
      example: { host: '10.0.0.9', expected: { host: '10.0.0.5' } },
      success: { status: 200, schema: TargetSchema },
      handle: (request) => updateTarget(sql, request.params.id, request.body, callerOf(request)),
    }),
    route({
      method: 'DELETE',
      path: '/api/v1/targets/:id',
      permission: 'targets.edit',
      scoped: true,
      summary: 'Delete a target that no open run uses',
      tag,
      params,
      success: { status: 204 },
      handle: (request) => deleteTarget(sql, request.params.id, callerOf(request)),
    }),
  ];
}

function connectionRoutes(deps: TargetRouteDeps): RouteSpec[] {
  return [
    route({
      method: 'POST',
      path: '/api/v1/targets/:id/test',
      permission: 'targets.test',
      scoped: true,
      summary: 'Have an agent reach the target, check its host key and log in',
      tag,
      params,
      success: { status: 200, schema: TestResultSchema },
      handle: (request) => testTarget(deps, request.params.id, callerOf(request)),
    }),
    route({
      method: 'POST',
      path: '/api/v1/targets/:id/host-keys',
      permission: 'host_keys.approve',
      scoped: true,
      summary: 'Accept the host key that a target showed',
      description: 'To replace an accepted key with a changed one, name the accepted one in `replaces`.',
      tag,
      params,
      body: AcceptHostKeyRequestSchema,
      success: { status: 200, schema: TargetSchema },
      handle: async (request) => {
        const { id } = request.params;
        await inTransaction(deps.sql, (tx) => acceptHostKey(tx, id, request.body, callerOf(request)));
        return getTarget(deps.sql, id, request.principal.authority.reach('read'));
      },
    }),
  ];
}
