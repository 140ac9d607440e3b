import {
  Closed,
  CreateSegmentRequestSchema,
  EnrollmentTokenReplySchema,
  Id,
  PendingEnrollmentTokenSchema,
  type Permission,
  PutUnknownAfterRequestSchema,
  SealingKeySchema,
  SegmentListSchema,
  SegmentQuerySchema,
  SegmentSchema,
} from '@opsconductor/protocol';
import { Type } from 'typebox';
import type { Authority, Reach } from '../../../auth/authority.ts';
import { callerOf } from '../../../caller.ts';
import type { MasterKey } from '../../../credentials/at-rest/master-key.ts';
import { changeUnknownAfter } from '../../../segments/change-unknown-after.ts';
import { createSegment } from '../../../segments/create-segment.ts';
import { deleteSegment } from '../../../segments/delete-segment.ts';
import {
  createEnrollmentToken,
  type EnrollmentTokenDeps,
} from '../../../segments/enrollment/create-enrollment-token.ts';
import {
  listEnrollmentTokens,
  revokeEnrollmentToken,
} from '../../../segments/enrollment/enrollment-tokens.ts';
import { getSegment, listSegments } from '../../../segments/list-segments.ts';
import { sealingKeyOf } from '../../../segments/segment-keys/sealing-key.ts';
import type { SessionLimits } from '../../../store/people/sessions.ts';
import { type RouteSpec, route } from '../../route.ts';

export interface SegmentRouteDeps extends EnrollmentTokenDeps {
  masterKey: MasterKey;
  installationId: string;
  now: () => Date;
  /** How long sessions last. */
  session: SessionLimits;
}

const tag = 'segments';
const params = Closed({ id: Id });

/** What the caller may read, and only what they hold the permission on if the query names one. */
function within(authority: Authority, permission: Permission | undefined): readonly Reach[] {
  return [...authority.reach('read'), ...(permission === undefined ? [] : authority.reach(permission))];
}

export function segmentRoutes(deps: SegmentRouteDeps): RouteSpec[] {
  const { sql } = deps;
  return [
    route({
      method: 'GET',
      path: '/api/v1/segments',
      permission: 'read',
      scoped: true,
      summary: 'List the segments by name',
      tag,
      description:
        'In full for callers who may read the segment; those who may only read some of its targets, through a target group, find its name under `named`, with the first page; `namedCursor` continues those names.',
      query: SegmentQuerySchema,
      success: { status: 200, schema: SegmentListSchema },
      handle: ({ principal, query }) =>
        listSegments(sql, within(principal.authority, query.permission), query),
    }),
    route({
      method: 'POST',
      path: '/api/v1/segments',
      permission: 'segments.edit',
      summary: 'Create a segment',
      tag,
      body: CreateSegmentRequestSchema,
      success: { status: 201, schema: SegmentSchema },
      handle: (request) => createSegment(sql, deps.masterKey, request.body, callerOf(request)),
    }),
    route({
      method: 'GET',
      path: '/api/v1/segments/:id',
      permission: 'read',
      scoped: true,
      summary: 'Get a segment',
      tag,
      params,
      success: { status: 200, schema: SegmentSchema },
      handle: ({ params, principal }) => getSegment(sql, params.id, principal.authority.reach('read')),
    }),
    route({
      method: 'DELETE',
      path: '/api/v1/segments/:id',
      permission: 'segments.edit',
      summary: 'Delete a segment that nothing belongs to any more',
      description:
        'Its keys, revoked agents, enrollment tokens, host trust and the grants on it go with it. 409 while it has targets, agents that are not revoked, credentials or inventories, or while runs on its targets are kept; the message says which.',
      tag,
      params,
      success: { status: 204 },
      errors: ['conflict'],
      handle: (request) => deleteSegment(sql, request.params.id, callerOf(request)),
    }),
    route({
      method: 'PUT',
      path: '/api/v1/segments/:id/unknown-after',
      permission: 'segments.edit',
      scoped: true,
      summary:
        'Change how long agents of a segment may be silent before what they have begun becomes unknown',
      description:
        'In seconds. It applies at once, even to agents that are already silent: a shorter time may make their attempts unknown, or have another agent take them over, within a second.',
      tag,
      params,
      body: PutUnknownAfterRequestSchema,
      success: { status: 200, schema: SegmentSchema },
      handle: (request) =>
        changeUnknownAfter(sql, request.params.id, request.body.unknownAfter, callerOf(request)),
    }),
    route({
      method: 'POST',
      path: '/api/v1/segments/:id/enrollment-tokens',
      permission: 'agents.enroll',
      scoped: true,
      summary: 'Create a token that enrolls one agent within the hour',
      description: 'The token is shown once. `steps` are the shell commands for the new machine, in order.',
      tag,
      params,
      success: { status: 201, schema: EnrollmentTokenReplySchema },
      handle: (request) => createEnrollmentToken(deps, request.params.id, callerOf(request)),
    }),
    route({
      method: 'GET',
      path: '/api/v1/segments/:id/enrollment-tokens',
      permission: 'agents.enroll',
      scoped: true,
      summary: 'List the enrollment tokens that were not used and have not expired, newest first',
      description:
        'At most 200. The tokens themselves are not kept. `admitsNobody` says why one can’t be used any more.',
      tag,
      params,
      success: {
        status: 200,
        schema: Type.Object({ items: Type.Array(PendingEnrollmentTokenSchema) }),
      },
      handle: (request) =>
        listEnrollmentTokens(sql, request.params.id, callerOf(request), {
          now: deps.now(),
          session: deps.session,
        }),
    }),
    route({
      method: 'DELETE',
      path: '/api/v1/segments/:id/enrollment-tokens/:token',
      permission: 'agents.enroll',
      scoped: true,
      summary: 'Take back an enrollment token that was not used',
      description: 'From then on it admits no agent. 409 if an agent has used it: revoke that agent instead.',
      tag,
      params: Closed({ id: Id, token: Id }),
      success: { status: 204 },
      handle: (request) => {
        const { id: segmentId, token: tokenId } = request.params;
        return revokeEnrollmentToken(sql, { segmentId, tokenId }, callerOf(request));
      },
    }),
    route({
      method: 'GET',
      path: '/api/v1/segments/:id/sealing-key',
      permission: 'credentials.edit',
      scoped: true,
      summary: 'Get the key that credentials of a segment are sealed to',
      description: '409 before the segment’s first agent made the key.',
      tag,
      params,
      success: { status: 200, schema: SealingKeySchema },
      errors: ['conflict'],
      handle: ({ params, principal }) => sealingKeyOf(sql, deps.installationId, params.id, principal),
    }),
  ];
}
