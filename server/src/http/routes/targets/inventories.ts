import {
  ApplyPlanRequestSchema,
  Closed,
  CreateInventoryRequestSchema,
  DeleteInventoryQuerySchema,
  Id,
  InventoryPageSchema,
  InventoryPlanHeadsSchema,
  InventoryPlanQuerySchema,
  InventoryPlanSchema,
  InventorySchema,
  limits,
  PlanInventoryRequestSchema,
  PutInventoryTargetsRequestSchema,
  pageQuery,
  UpdateInventoryRequestSchema,
} from '@opsconductor/protocol';
import { Type } from 'typebox';
import { callerOf } from '../../../caller.ts';
import { applyPlan } from '../../../inventory/apply-plan.ts';
import {
  createInventory,
  deleteInventory,
  getInventory,
  listInventories,
  updateInventory,
} from '../../../inventory/edit-inventories.ts';
import { getPlan, listPlanHeads, planInventory } from '../../../inventory/make-plan.ts';
import { putHosts } from '../../../inventory/put-hosts.ts';
import type { Sql } from '../../../store/database/connection.ts';
import { type RouteSpec, route } from '../../route.ts';

const tag = 'inventories';
const params = Closed({ id: Id });
const planParams = Closed({ id: Id, plan: Type.String({ format: 'uuid' }) });

export function inventoryRoutes(deps: { sql: Sql }): RouteSpec[] {
  return [...editRoutes(deps), ...planRoutes(deps)];
}

function editRoutes({ sql }: { sql: Sql }): RouteSpec[] {
  return [
    route({
      method: 'GET',
      path: '/api/v1/inventories',
      permission: 'read',
      scoped: true,
      summary: 'List inventories by name',
      description:
        'Callers who may read an inventory’s segment see it; an inventory without a segment is seen by callers who may read everywhere.',
      tag,
      query: Closed(pageQuery),
      success: { status: 200, schema: InventoryPageSchema },
      handle: ({ query, principal }) => listInventories(sql, query, principal.authority.reach('read')),
    }),
    route({
      method: 'GET',
      path: '/api/v1/inventories/:id',
      permission: 'read',
      scoped: true,
      summary: 'Get an inventory',
      tag,
      params,
      success: { status: 200, schema: InventorySchema },
      handle: ({ params, principal }) => getInventory(sql, params.id, principal.authority.reach('read')),
    }),
    route({
      method: 'POST',
      path: '/api/v1/inventories',
      permission: 'targets.edit',
      scoped: true,
      summary: 'Create an inventory, to import targets from',
      tag,
      body: CreateInventoryRequestSchema,
      success: { status: 201, schema: InventorySchema },
      handle: (request) => createInventory(sql, request.body, callerOf(request)),
    }),
    route({
      method: 'PUT',
      path: '/api/v1/inventories/:id',
      permission: 'targets.edit',
      scoped: true,
      summary: 'Change an inventory',
      description:
        'Fields that are left out stay unchanged. Its targets change with the next plan that is applied. `expected` gives the values that fields had before the change; if any of them differs by now, the answer is 409, with a detail for each.',
      tag,
      params,
      body: UpdateInventoryRequestSchema,
      success: { status: 200, schema: InventorySchema },
      handle: (request) => updateInventory(sql, request.params.id, request.body, callerOf(request)),
    }),
    route({
      method: 'DELETE',
      path: '/api/v1/inventories/:id',
      permission: 'targets.edit',
      scoped: true,
      summary: 'Delete an inventory; with targets=keep, even one that has targets, which stay',
      tag,
      params,
      query: DeleteInventoryQuerySchema,
      success: { status: 204 },
      handle: (request) => deleteInventory(sql, request.params.id, request.query, callerOf(request)),
    }),
  ];
}

function planRoutes({ sql }: { sql: Sql }): RouteSpec[] {
  return [
    route({
      method: 'POST',
      path: '/api/v1/inventories/:id/plan',
      permission: 'targets.edit',
      scoped: true,
      summary: 'Plan an import: what it would create, change and leave unchanged, and what is missing',
      description:
        'Nothing changes yet. All errors are reported together, by file and line; findings say what can’t be carried over. For an Ansible inventory, also send the files of `group_vars` and `host_vars`. Needs `targets.edit` in each segment concerned.',
      tag,
      params,
      body: PlanInventoryRequestSchema,
      maxBodyBytes: limits.maxInventoryBytes,
      success: { status: 201, schema: InventoryPlanSchema },
      handle: (request) => planInventory(sql, request.params.id, request.body, callerOf(request)),
    }),
    route({
      method: 'GET',
      path: '/api/v1/inventories/:id/plans',
      permission: 'read',
      scoped: true,
      summary: 'List the newest plans of an inventory, applied or not',
      description:
        'Only plans that the caller may apply: those need `targets.edit` wherever they change something.',
      tag,
      params,
      success: { status: 200, schema: InventoryPlanHeadsSchema },
      handle: ({ params, principal }) => listPlanHeads(sql, params.id, principal),
    }),
    route({
      method: 'GET',
      path: '/api/v1/inventories/:id/plans/:plan',
      permission: 'targets.edit',
      scoped: true,
      summary: 'Page through the items of a plan',
      description: 'Filter by `action` for conflicts, creations and so on.',
      tag,
      params: planParams,
      query: InventoryPlanQuerySchema,
      success: { status: 200, schema: InventoryPlanSchema },
      handle: ({ params, query, principal }) => getPlan(sql, params.id, params.plan, query, principal),
    }),
    route({
      method: 'POST',
      path: '/api/v1/inventories/:id/plans/:plan/apply',
      permission: 'targets.edit',
      scoped: true,
      summary: 'Apply a plan, whole or not at all',
      description:
        'Only once. Refused with 409 if something has changed since it was planned; the message says what. `gone` says what to do with targets that the inventory no longer names.',
      tag,
      params: planParams,
      body: ApplyPlanRequestSchema,
      success: { status: 200, schema: InventoryPlanSchema },
      handle: (request) =>
        applyPlan(sql, request.params.id, request.params.plan, request.body, callerOf(request)),
    }),
    route({
      method: 'PUT',
      path: '/api/v1/inventories/:id/targets',
      permission: 'targets.edit',
      scoped: true,
      summary: 'Plan an import of these hosts; with `apply`, also apply it',
      description:
        'For inventories of format `api`. Send all hosts of the inventory; targets that are missing from the list count as gone.',
      tag,
      params,
      body: PutInventoryTargetsRequestSchema,
      maxBodyBytes: limits.maxInventoryBytes,
      success: { status: 200, schema: InventoryPlanSchema },
      handle: (request) => putHosts(sql, request.params.id, request.body, callerOf(request)),
    }),
  ];
}
