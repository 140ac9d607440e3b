import {
  AgentDetailSchema,
  AgentPageSchema,
  AgentQuerySchema,
  Closed,
  Id,
  PutAgentLabelsRequestSchema,
} from '@opsconductor/protocol';
import { callerOf } from '../../../caller.ts';
import { wantNewKeys } from '../../../segments/agent-keys/want-new-keys.ts';
import { type AgentDeps, disableAgent, enableAgent } from '../../../segments/agents/disable-agent.ts';
import { drainAgent, putAgentLabels, undrainAgent } from '../../../segments/agents/drain-agent.ts';
import { getAgent, listAgents } from '../../../segments/agents/list-agents.ts';
import { revokeAgent } from '../../../segments/agents/revoke-agent.ts';
import { type RouteSpec, route } from '../../route.ts';

const tag = 'agents';
const params = Closed({ id: Id });

export function agentRoutes(deps: AgentDeps): RouteSpec[] {
  const { sql } = deps;
  return [
    route({
      method: 'GET',
      path: '/api/v1/agents',
      permission: 'read',
      scoped: true,
      summary: 'List agents by segment and name',
      description: 'Revoked agents are listed with `state=revoked` only.',
      tag,
      query: AgentQuerySchema,
      success: { status: 200, schema: AgentPageSchema },
      handle: ({ query, principal }) => listAgents(sql, query, principal.authority.reach('read')),
    }),
    route({
      method: 'GET',
      path: '/api/v1/agents/:id',
      permission: 'read',
      scoped: true,
      summary: 'Get an agent with what it runs now',
      tag,
      params,
      success: { status: 200, schema: AgentDetailSchema },
      handle: ({ params, principal }) => getAgent(sql, params.id, principal.authority.reach('read')),
    }),
    route({
      method: 'PUT',
      path: '/api/v1/agents/:id/labels',
      permission: 'agents.manage',
      scoped: true,
      summary: 'Replace the labels of an agent',
      description:
        '`expected` gives the labels that it had before the change; if it has others by now, the answer is 409, and nothing is changed.',
      tag,
      params,
      body: PutAgentLabelsRequestSchema,
      success: { status: 200, schema: AgentDetailSchema },
      handle: (request) => putAgentLabels(sql, request.params.id, request.body, callerOf(request)),
    }),
    ...decisionRoutes(deps),
  ];
}

/** Every decision can be repeated: it changes nothing if it already applies. */
function decisionRoutes(deps: AgentDeps): RouteSpec[] {
  const decide = (
    verb: string,
    { summary, description }: { summary: string; description: string },
    act: (id: number, caller: ReturnType<typeof callerOf>) => Promise<unknown>,
  ) =>
    route({
      method: 'POST',
      path: `/api/v1/agents/:id/${verb}`,
      permission: 'agents.manage',
      scoped: true,
      summary,
      description,
      tag,
      params,
      success: { status: 200, schema: AgentDetailSchema },
      handle: (request) => act(request.params.id, callerOf(request)),
    });
  return [
    decide(
      'drain',
      {
        summary: 'Drain an agent, so that it takes nothing new',
        description:
          'It finishes the steps that it has and stays connected. This lasts until `undrain`, even across reconnects and restarts.',
      },
      (id, caller) => drainAgent(deps.sql, id, caller),
    ),
    decide(
      'undrain',
      {
        summary: 'Let a drained agent take steps again',
        description: 'Takes effect at once if it is connected.',
      },
      (id, caller) => undrainAgent(deps.sql, id, caller),
    ),
    decide(
      'disable',
      {
        summary: 'Cut an agent off until it is enabled',
        description:
          'It hands back the steps that it has not begun, which other agents take at once. What it has begun continues on the targets; the results count if it is enabled within the segment’s `unknownAfter`, and are added to the unknown attempts after that.',
      },
      (id, caller) => disableAgent(deps, id, caller),
    ),
    decide(
      'enable',
      {
        summary: 'Let a disabled agent connect again',
        description: 'It tries every 2 to 5 minutes, and at once when it is restarted.',
      },
      (id, caller) => enableAgent(deps, id, caller),
    ),
    decide(
      'new-keys',
      {
        summary: 'Have an agent replace its own keys',
        description:
          'It makes them at once if it is connected, otherwise when it next connects; the previous keys then no longer open connections. If an owner holds the segment’s root, the new keys wait for a roster signed by the owner, and the previous ones remain valid until then.',
      },
      (id, caller) => wantNewKeys(deps, id, caller),
    ),
    decide(
      'revoke',
      {
        summary: 'Cut an agent off permanently',
        description:
          'What it has begun becomes unknown at once. A connected agent of the segment, or the next one that connects or enrolls, makes a new generation of the segment key; until then, nothing can be sealed to the segment. Credentials that the revoked agent can open are `toRotate` until they are replaced.',
      },
      (id, caller) => revokeAgent(deps, id, caller),
    ),
  ];
}
