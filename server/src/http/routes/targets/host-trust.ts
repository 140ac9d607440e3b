import {
  ApplyKnownHostsRequestSchema,
  Closed,
  CreateHostTrustRequestSchema,
  HostTrustListSchema,
  HostTrustSchema,
  Id,
  KnownHostsPlanSchema,
  limits,
  PlanKnownHostsRequestSchema,
} from '@opsconductor/protocol';
import { callerOf } from '../../../caller.ts';
import { addTrust, listTrust, removeTrust } from '../../../host-keys/edit-host-trust.ts';
import { applyKnownHosts, planKnownHosts } from '../../../host-keys/import-known-hosts.ts';
import type { Sql } from '../../../store/database/connection.ts';
import { type RouteSpec, route } from '../../route.ts';

const tag = 'host keys';
const params = Closed({ id: Id });
const maxBodyBytes = 2 * limits.maxKnownHostsBytes;

export function hostTrustRoutes({ sql }: { sql: Sql }): RouteSpec[] {
  return [
    route({
      method: 'GET',
      path: '/api/v1/segments/:id/host-trust',
      permission: 'read',
      scoped: true,
      summary: 'List the host authorities and revoked host keys of a segment',
      tag,
      params,
      success: { status: 200, schema: HostTrustListSchema },
      handle: ({ params, principal }) => listTrust(sql, params.id, principal),
    }),
    route({
      method: 'POST',
      path: '/api/v1/segments/:id/host-trust',
      permission: 'host_keys.approve',
      scoped: true,
      summary: 'Trust a host authority in a segment, or revoke a host key there',
      description:
        'Agents accept a host whose certificate a trusted authority has signed for that host. A revoked key is refused, and is forgotten if it was accepted.',
      tag,
      params,
      body: CreateHostTrustRequestSchema,
      success: { status: 201, schema: HostTrustSchema },
      handle: (request) => addTrust(sql, request.params.id, request.body, callerOf(request)),
    }),
    route({
      method: 'DELETE',
      path: '/api/v1/segments/:id/host-trust/:entry',
      permission: 'host_keys.approve',
      scoped: true,
      summary: 'Stop trusting a host authority, or undo the revocation of a host key',
      tag,
      params: Closed({ id: Id, entry: Id }),
      success: { status: 204 },
      handle: (request) => removeTrust(sql, request.params.id, request.params.entry, callerOf(request)),
    }),
    route({
      method: 'POST',
      path: '/api/v1/known-hosts/plan',
      permission: 'host_keys.approve',
      scoped: true,
      summary: 'Plan the import of a known_hosts file into a segment, line by line',
      description: 'Nothing changes yet. Names may be hashed; lines that can’t be used say why.',
      tag,
      body: PlanKnownHostsRequestSchema,
      maxBodyBytes,
      success: { status: 200, schema: KnownHostsPlanSchema },
      handle: (request) => planKnownHosts(sql, request.body, callerOf(request)),
    }),
    route({
      method: 'POST',
      path: '/api/v1/known-hosts/apply',
      permission: 'host_keys.approve',
      scoped: true,
      summary: 'Import a known_hosts file as planned, whole or not at all',
      description:
        'Send the same file with the digest of its plan; 409 if the plan would be different by now.',
      tag,
      body: ApplyKnownHostsRequestSchema,
      maxBodyBytes,
      success: { status: 200, schema: KnownHostsPlanSchema },
      handle: (request) => applyKnownHosts(sql, request.body, callerOf(request)),
    }),
  ];
}
