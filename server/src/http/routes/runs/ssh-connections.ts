// The SSH connections that carried the steps of a run.
import {
  Closed,
  Id,
  limits,
  SshConnectionPageSchema,
  SshConnectionQuerySchema,
} from '@opsconductor/protocol';
import { listSeenSshConnections } from '../../../runs/view/list-ssh-connections.ts';
import type { Sql } from '../../../store/database/connection.ts';
import { sshConnectionsExample } from '../../description/examples/runs.ts';
import { type RouteSpec, route } from '../../route.ts';

export function sshConnectionRoutes({ sql }: { sql: Sql }): RouteSpec[] {
  return [
    route({
      method: 'GET',
      path: '/api/v1/runs/:id/ssh-connections',
      permission: 'read',
      scoped: true,
      summary: 'List the SSH connections that carried a run’s steps',
      description:
        'With what each carried for this run, counted when an attempt ends. Agents keep connections open: several runs may use one, and each counts its own. `targetRunId` restricts the list to one target run.',
      tag: 'runs',
      params: Closed({ id: Id }),
      query: SshConnectionQuerySchema,
      success: { status: 200, schema: SshConnectionPageSchema, example: sshConnectionsExample },
      handle: ({ params, query, principal }) => {
        const { limit = limits.defaultPageItems } = query;
        return listSeenSshConnections(sql, params.id, { ...query, limit }, principal.authority);
      },
    }),
  ];
}
