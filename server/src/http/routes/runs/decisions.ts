// Routes of steps that wait for a decision, and of a step's attempts.
import {
  AttemptsSchema,
  Closed,
  DecidedSchema,
  DecideRequestSchema,
  HeldStepsSchema,
  Id,
} from '@opsconductor/protocol';
import { callerOf } from '../../../caller.ts';
import { decideHeld } from '../../../runs/ends/decide-held.ts';
import type { ProgressNews } from '../../../runs/progress/run-ledger.ts';
import { listAttempts } from '../../../runs/view/list-attempts.ts';
import { listHeld } from '../../../runs/view/list-held.ts';
import type { Sql } from '../../../store/database/connection.ts';
import { type RouteSpec, route } from '../../route.ts';

const tag = 'runs';
const params = Closed({ id: Id });

export function decisionRoutes(deps: { sql: Sql; publish(news: ProgressNews): void }): RouteSpec[] {
  const { sql } = deps;
  return [
    route({
      method: 'GET',
      path: '/api/v1/runs/:id/decisions',
      permission: 'read',
      scoped: true,
      summary: 'List what in a run waits for a decision',
      description:
        'Held steps grouped by step, agent and reason, with the consequence of each decision and the deadline. A caller who sees only a part of the run sees what is held in that part.',
      tag,
      params,
      success: { status: 200, schema: HeldStepsSchema },
      handle: ({ params, principal }) => listHeld(sql, params.id, principal),
    }),
    route({
      method: 'POST',
      path: '/api/v1/runs/:id/decisions',
      permission: 'run',
      scoped: true,
      summary: 'Decide held steps of a run: one, many, or all that match',
      description:
        'Needs `run` on the job’s category or on all targets of the run. Decides the given `steps`, or all held steps that match `agentName`, `stepNumber` and `reason`; on targets that the caller sees. All or none: if a step is no longer held, the answer is 409 with its current state.',
      tag,
      params,
      body: DecideRequestSchema,
      example: {
        decision: 'retry',
        note: 'Looked at the hosts: nothing had begun',
        agentName: 'dmz-agent-1',
        expected: 4,
      },
      success: { status: 200, schema: DecidedSchema },
      handle: async (request) => {
        const { news, ...told } = await decideHeld(sql, request.params.id, request.body, callerOf(request));
        deps.publish(news);
        return told;
      },
    }),
    route({
      method: 'GET',
      path: '/api/v1/runs/:id/steps/:step/attempts',
      permission: 'read',
      scoped: true,
      summary: 'List the attempts of a step',
      description: 'The output of each attempt is at `…/output?attempt=`.',
      tag,
      params: Closed({ id: Id, step: Id }),
      success: { status: 200, schema: AttemptsSchema },
      handle: async ({ params, principal }) => ({
        items: await listAttempts(sql, { runId: params.id, stepId: params.step }, principal.authority),
      }),
    }),
  ];
}
