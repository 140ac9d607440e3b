import {
  ApproveHostKeysReplySchema,
  ApproveHostKeysRequestSchema,
  Closed,
  CreateHostScanRequestSchema,
  HostScanDetailSchema,
  HostScanItemPageSchema,
  HostScanItemQuerySchema,
  HostScanPageSchema,
  Id,
  pageQuery,
} from '@opsconductor/protocol';
import { callerOf } from '../../../caller.ts';
import { approveScan } from '../../../host-keys/approve-scan.ts';
import { createScan, stopScan } from '../../../host-keys/create-scan.ts';
import { getScan, listItems, listScans } from '../../../host-keys/read-scans.ts';
import type { Sql } from '../../../store/database/connection.ts';
import { type RouteSpec, route } from '../../route.ts';

const tag = 'host keys';
const params = Closed({ id: Id });
/** Enough to pick keys for all targets that one scan may have. */
const maxApprovalBytes = 4 * 1024 * 1024;

export function hostScanRoutes({ sql }: { sql: Sql }): RouteSpec[] {
  return [
    route({
      method: 'POST',
      path: '/api/v1/host-scans',
      permission: 'targets.test',
      scoped: true,
      summary: 'Scan targets through the agents of their segments, without logging in',
      description:
        '`keys` reads every host key that a target offers; `reach` only checks whether an SSH server answers. Results appear as agents report them; targets of a segment whose agents are away wait for an hour.',
      tag,
      body: CreateHostScanRequestSchema,
      success: { status: 201, schema: HostScanDetailSchema },
      handle: (request) => createScan(sql, request.body, callerOf(request)),
    }),
    route({
      method: 'GET',
      path: '/api/v1/host-scans',
      permission: 'read',
      scoped: true,
      summary: 'List scans, the newest first',
      description: 'Those of the last 30 days with a target that the caller may see.',
      tag,
      query: Closed(pageQuery),
      success: { status: 200, schema: HostScanPageSchema },
      handle: ({ query, principal }) => listScans(sql, query, principal.authority.reach('read')),
    }),
    route({
      method: 'GET',
      path: '/api/v1/host-scans/:id',
      permission: 'read',
      scoped: true,
      summary: 'Get a scan: its progress, what it found, and what could be approved',
      tag,
      params,
      success: { status: 200, schema: HostScanDetailSchema },
      handle: ({ params, principal: { authority } }) =>
        getScan(sql, params.id, authority.reach('read'), authority.reach('host_keys.approve')),
    }),
    route({
      method: 'GET',
      path: '/api/v1/host-scans/:id/items',
      permission: 'read',
      scoped: true,
      summary: 'Page through the targets of a scan by name',
      description:
        'Each with its finding, compared with the keys accepted now. `shared=true` lists those that show a key that another target shows too.',
      tag,
      params,
      query: HostScanItemQuerySchema,
      success: { status: 200, schema: HostScanItemPageSchema },
      handle: ({ params, query, principal: { authority } }) =>
        listItems(sql, params.id, query, authority.reach('read'), authority.reach('host_keys.approve')),
    }),
    route({
      method: 'POST',
      path: '/api/v1/host-scans/:id/cancel',
      permission: 'targets.test',
      scoped: true,
      summary: 'End a scan; what it has found so far stays',
      tag,
      params,
      success: { status: 200, schema: HostScanDetailSchema },
      handle: (request) => stopScan(sql, request.params.id, callerOf(request)),
    }),
    route({
      method: 'POST',
      path: '/api/v1/host-scans/:id/approve',
      permission: 'host_keys.approve',
      scoped: true,
      summary: 'Accept host keys that a scan has found: exactly those shown, or none',
      description:
        '`all` accepts every key of a finding, by the digest with which it was shown; `keys` accepts individual ones. A changed target needs its own entry in `replace`. If something is no longer as it was shown, the answer is 409 and names it.',
      tag,
      params,
      body: ApproveHostKeysRequestSchema,
      maxBodyBytes: maxApprovalBytes,
      success: { status: 200, schema: ApproveHostKeysReplySchema },
      handle: (request) => approveScan(sql, request.params.id, request.body, callerOf(request)),
    }),
  ];
}
