// Rosters of segments with an owner-held root, and recovery of a segment with its recovery key.
import {
  Closed,
  Id,
  PostRecoveredKeysRequestSchema,
  PostRosterRequestSchema,
  RecoveredKeysSchema,
  SegmentRecoverySchema,
  SegmentRosterSchema,
  SegmentSchema,
} from '@opsconductor/protocol';
import { callerOf } from '../../../caller.ts';
import { readRoster } from '../../../segments/owner-held/read-roster.ts';
import { takeRoster } from '../../../segments/owner-held/take-roster.ts';
import { giveRecovered, readRecovery } from '../../../segments/segment-keys/recovery-wraps.ts';
import type { Sql } from '../../../store/database/connection.ts';
import { type RouteSpec, route } from '../../route.ts';

const tag = 'segments';
const path = '/api/v1/segments/:id/roster';
const recoveryPath = '/api/v1/segments/:id/recovery';
const params = Closed({ id: Id });
/** A roster names at most 256 agents, 1024 generations and 4096 revoked agents. */
const maxBodyBytes = 2 * 1024 * 1024;

export function segmentRosterRoutes(deps: { sql: Sql; installationId: string }): RouteSpec[] {
  return [
    route({
      method: 'GET',
      path,
      permission: 'read',
      scoped: true,
      summary: 'Get the roster of a segment, and what its owner can sign next',
      description: '`agents` and `offers` include agents and segment keys that the roster does not name yet.',
      tag,
      params,
      success: { status: 200, schema: SegmentRosterSchema },
      handle: ({ params, principal }) => readRoster(deps.sql, deps.installationId, params.id, principal),
    }),
    route({
      method: 'POST',
      path,
      permission: 'agents.manage',
      scoped: true,
      summary: 'Store a roster that the owner of the segment’s root has signed',
      description:
        'Agents that it no longer names are revoked. 409 for a managed root, for a roster that is older than the stored one, and for one that names something that does not exist. Sending the same roster again changes nothing.',
      tag,
      params,
      body: PostRosterRequestSchema,
      maxBodyBytes,
      success: { status: 200, schema: SegmentSchema },
      handle: (request) => takeRoster(deps, request.params.id, request.body, callerOf(request)),
    }),
    route({
      method: 'GET',
      path: recoveryPath,
      permission: 'agents.manage',
      scoped: true,
      summary: 'Get the segment key wrapped for the recovery key',
      tag,
      params,
      success: { status: 200, schema: SegmentRecoverySchema },
      handle: ({ params, principal }) => readRecovery(deps.sql, params.id, principal),
    }),
    route({
      method: 'POST',
      path: recoveryPath,
      permission: 'agents.manage',
      scoped: true,
      summary: 'Give an agent the recovered segment key, wrapped for it',
      tag,
      params,
      body: PostRecoveredKeysRequestSchema,
      success: { status: 200, schema: RecoveredKeysSchema },
      handle: (request) => giveRecovered(deps.sql, request.params.id, request.body, callerOf(request)),
    }),
  ];
}
