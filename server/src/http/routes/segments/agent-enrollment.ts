// What an agent requests before it can connect. The routes are public because the requests themselves contain the
// token, and later the agent's signature.
import {
  EnrollRequestSchema,
  EnrollResponseSchema,
  SegmentKeyRequestSchema,
  SegmentKeyResponseSchema,
} from '@opsconductor/protocol';
import { enrollmentRefusalRecorder } from '../../../audit/record-refusal.ts';
import type { EnrollmentLimits } from '../../../auth/limits/enrollment-limits.ts';
import { type EnrollmentDeps, enrollAgent } from '../../../segments/enrollment/enroll-agent.ts';
import { offerSegmentKey } from '../../../segments/segment-keys/offer-segment-key.ts';
import { type RouteSpec, route } from '../../route.ts';

const tag = 'agents';
const maxBodyBytes = 8 * 1024;

export interface AgentEnrollmentRouteDeps extends EnrollmentDeps {
  limits: EnrollmentLimits;
}

export function agentEnrollmentRoutes(deps: AgentEnrollmentRouteDeps): RouteSpec[] {
  const recordRefusal = enrollmentRefusalRecorder({ sql: deps.sql, now: () => new Date() });
  return [
    route({
      method: 'POST',
      path: '/api/v1/agent/enroll',
      permission: 'public',
      summary: 'Enroll an agent with a token',
      description:
        'Can be repeated with the same token and keys until the agent has connected. Rate-limited by address and by token.',
      tag,
      body: EnrollRequestSchema,
      maxBodyBytes,
      success: { status: 200, schema: EnrollResponseSchema },
      handle: async ({ body, address, requestId }) => {
        deps.limits.countRequest(address, body.token);
        try {
          return await enrollAgent(deps, body, { address, requestId });
        } catch (error) {
          await recordRefusal(error, body.name, { address, requestId });
          throw error;
        }
      },
    }),
    route({
      method: 'POST',
      path: '/api/v1/agent/segment-key',
      permission: 'public',
      summary: 'Offer the segment key that the first agent made',
      description: 'Rate-limited by address.',
      tag,
      body: SegmentKeyRequestSchema,
      maxBodyBytes,
      success: { status: 200, schema: SegmentKeyResponseSchema },
      handle: ({ body, address, requestId }) => {
        deps.limits.countRequest(address);
        return offerSegmentKey(deps, body, { address, requestId });
      },
    }),
  ];
}
