// The specification's executor and worker endpoints: the queue and the agents.
import { ExecutorOverviewSchema, ExecutorStatusSchema, WorkerStatusSchema } from '@opsconductor/protocol';
import { agentsStatus, queueOverview, queueStatus } from '../../../jobs/insight/queue-status.ts';
import type { Sql } from '../../../store/database/connection.ts';
import {
  executorOverviewExample,
  executorStatusExample,
  workerStatusExample,
} from '../../description/examples/runs.ts';
import { type RouteSpec, route } from '../../route.ts';

export function queueRoutes({ sql }: { sql: Sql }): RouteSpec[] {
  return [
    route({
      method: 'GET',
      path: '/api/v1/executor/status',
      permission: 'read',
      scoped: true,
      summary: 'Queue statistics, by segment',
      description:
        '`degraded` if steps are ready in a segment and none of its agents can take them; `problems` says which, since when and why.',
      tag: 'queue',
      success: { status: 200, schema: ExecutorStatusSchema, example: executorStatusExample },
      handle: ({ principal }) => queueStatus(sql, principal.authority),
    }),
    route({
      method: 'GET',
      path: '/api/v1/executor/overview',
      permission: 'read',
      scoped: true,
      summary: 'Segments by health, and how many steps are held',
      description: 'Numbers only, for programs that poll.',
      tag: 'queue',
      success: { status: 200, schema: ExecutorOverviewSchema, example: executorOverviewExample },
      handle: ({ principal }) => queueOverview(sql, principal.authority),
    }),
    route({
      method: 'GET',
      path: '/api/v1/worker/status',
      permission: 'read',
      scoped: true,
      summary: 'Agents and their slots',
      tag: 'queue',
      success: { status: 200, schema: WorkerStatusSchema, example: workerStatusExample },
      handle: ({ principal }) => agentsStatus(sql, principal.authority),
    }),
  ];
}
