import { AgentSchema, Page } from '@opsconductor/protocol';
import { listAgents } from '../segments/list-agents.ts';
import type { Sql } from '../store/connection.ts';
import { type RouteSpec, route } from './route.ts';

export function agentRoutes(deps: { sql: Sql }): RouteSpec[] {
  return [
    route({
      method: 'GET',
      path: '/api/v1/agents',
      permission: 'read',
      scoped: true,
      summary: 'List the agents, all on one page',
      tag: 'agents',
      success: { status: 200, schema: Page(AgentSchema) },
      handle: async ({ principal }) => ({
        items: await listAgents(deps.sql, principal.authority.reach('read')),
        nextCursor: null,
      }),
    }),
  ];
}
