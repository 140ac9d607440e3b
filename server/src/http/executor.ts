// The specification's executor and worker endpoints: the queue and the agents.
import { ExecutorStatusSchema, WorkerStatusSchema } from '@opsconductor/protocol';
import { listAgents } from '../segments/list-agents.ts';
import type { Sql } from '../store/connection.ts';
import { oldestReadyMs, openRunCounts, segmentQueues, stepCounts } from '../store/queue-status.ts';
import { type RouteSpec, route } from './route.ts';

export function executorRoutes({ sql }: { sql: Sql }): RouteSpec[] {
  return [
    route({
      method: 'GET',
      path: '/api/v1/executor/status',
      permission: 'read',
      summary: 'Queue statistics, by segment',
      tag: 'queue',
      success: { status: 200, schema: ExecutorStatusSchema },
      handle: async () => {
        const [steps, runs, oldest, segments] = await Promise.all([
          stepCounts(sql),
          openRunCounts(sql),
          oldestReadyMs(sql),
          segmentQueues(sql),
        ]);
        const problems = segments
          .filter((segment) => segment.ready > 0 && segment.freeSlots === 0 && segment.running === 0)
          .map(
            (segment) =>
              `Segment “${segment.name}” has ${segment.ready} steps waiting and no agent to take them.`,
          );
        return {
          status: problems.length === 0 ? 'ok' : 'degraded',
          steps,
          runs,
          oldestReadyMs: oldest,
          segments,
          problems,
        };
      },
    }),
    route({
      method: 'GET',
      path: '/api/v1/worker/status',
      permission: 'read',
      summary: 'Agents and their slots',
      tag: 'queue',
      success: { status: 200, schema: WorkerStatusSchema },
      handle: async () => {
        const agents = await listAgents(sql);
        const counted = (states: readonly string[]) =>
          agents.filter((agent) => states.includes(agent.state)).length;
        const live = agents.filter((agent) => agent.state === 'connected' || agent.state === 'draining');
        return {
          connected: counted(['connected', 'draining']),
          silent: counted(['silent']),
          offline: counted(['offline', 'disabled', 'quarantined']),
          slots: live.reduce((sum, agent) => sum + agent.slots, 0),
          slotsInUse: live.reduce((sum, agent) => sum + agent.slotsInUse, 0),
          agents: agents.map(({ id, name, segmentName, state, slots, slotsInUse }) => ({
            id,
            name,
            segmentName,
            state,
            slots,
            slotsInUse,
          })),
        };
      },
    }),
  ];
}
