import {
  AcceptHostKeyRequestSchema,
  Closed,
  CreateTargetRequestSchema,
  Id,
  Page,
  TargetQuerySchema,
  TargetSchema,
  TestResultSchema,
  UpdateTargetRequestSchema,
} from '@opsconductor/protocol';
import { callerOf } from '../caller.ts';
import type { Sql } from '../store/connection.ts';
import { inTransaction } from '../store/transaction.ts';
import { createTarget, deleteTarget, updateTarget } from '../targets/edit-targets.ts';
import { acceptHostKey } from '../targets/host-keys.ts';
import { getTarget, listTargets } from '../targets/list-targets.ts';
import { type TargetTester, testTarget } from '../targets/test-target.ts';
import { type RouteSpec, route } from './route.ts';

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
      summary: 'List targets by name',
      tag,
      query: TargetQuerySchema,
      success: { status: 200, schema: Page(TargetSchema) },
      handle: ({ query }) => listTargets(sql, query),
    }),
    route({
      method: 'GET',
      path: '/api/v1/targets/:id',
      permission: 'read',
      summary: 'Get a target',
      tag,
      params,
      success: { status: 200, schema: TargetSchema },
      handle: ({ params }) => getTarget(sql, params.id),
    }),
  ];
}

function editRoutes({ sql }: TargetRouteDeps): RouteSpec[] {
  return [
    route({
      method: 'POST',
      path: '/api/v1/targets',
      permission: 'targets.edit',
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
      summary: 'Change a target',
      description:
        'Another host or port is another machine: its host keys are forgotten. Without `credentialId` the credential stays; null takes it away.',
      tag,
      params,
      body: UpdateTargetRequestSchema,
      success: { status: 200, schema: TargetSchema },
      handle: (request) => updateTarget(sql, request.params.id, request.body, callerOf(request)),
    }),
    route({
      method: 'DELETE',
      path: '/api/v1/targets/:id',
      permission: 'targets.edit',
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
      summary: 'Accept the host key that a target showed',
      description: 'To put a changed key in place of an accepted one, name the accepted one in `replaces`.',
      tag,
      params,
      body: AcceptHostKeyRequestSchema,
      success: { status: 200, schema: TargetSchema },
      handle: async (request) => {
        const { id } = request.params;
        await inTransaction(deps.sql, (tx) => acceptHostKey(tx, id, request.body, callerOf(request)));
        return getTarget(deps.sql, id);
      },
    }),
  ];
}
