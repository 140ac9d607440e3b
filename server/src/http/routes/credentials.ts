import {
  Closed,
  CreateCredentialRequestSchema,
  CreateCredentialVersionRequestSchema,
  CredentialQuerySchema,
  CredentialSchema,
  Page,
} from '@opsconductor/protocol';
import { Type } from 'typebox';
import { callerOf } from '../../caller.ts';
import { createCredential, deleteCredential, replaceCredential } from '../../credentials/edit-credentials.ts';
import { getCredential, listCredentials } from '../../credentials/list-credentials.ts';
import type { Sql } from '../../store/database/connection.ts';
import { type RouteSpec, route } from '../route.ts';

const tag = 'credentials';
const params = Closed({ id: Type.String({ format: 'uuid' }) });

export function credentialRoutes({ sql }: { sql: Sql }): RouteSpec[] {
  return [
    route({
      method: 'GET',
      path: '/api/v1/credentials',
      permission: 'read',
      scoped: true,
      summary: 'List credentials by name, without what they seal',
      tag,
      query: CredentialQuerySchema,
      success: { status: 200, schema: Page(CredentialSchema) },
      handle: ({ query, principal }) => listCredentials(sql, query, principal.authority.reach('read')),
    }),
    route({
      method: 'POST',
      path: '/api/v1/credentials',
      permission: 'credentials.edit',
      scoped: true,
      summary: 'Create a credential that was sealed to its segment',
      tag,
      body: CreateCredentialRequestSchema,
      success: { status: 201, schema: CredentialSchema },
      handle: (request) => createCredential(sql, request.body, callerOf(request)),
    }),
    route({
      method: 'GET',
      path: '/api/v1/credentials/:id',
      permission: 'read',
      scoped: true,
      summary: 'Get a credential, without what it seals',
      tag,
      params,
      success: { status: 200, schema: CredentialSchema },
      handle: ({ params, principal }) => getCredential(sql, params.id, principal.authority.reach('read')),
    }),
    route({
      method: 'POST',
      path: '/api/v1/credentials/:id/versions',
      permission: 'credentials.edit',
      scoped: true,
      summary: 'Put another secret in place of a credential’s',
      description:
        'Sealed as `version`, one more than it has, to the segment’s current key. Steps that are leased from then on get it.',
      tag,
      params,
      body: CreateCredentialVersionRequestSchema,
      success: { status: 201, schema: CredentialSchema },
      handle: (request) => replaceCredential(sql, request.params.id, request.body, callerOf(request)),
    }),
    route({
      method: 'DELETE',
      path: '/api/v1/credentials/:id',
      permission: 'credentials.edit',
      scoped: true,
      summary: 'Delete a credential that no target uses',
      tag,
      params,
      success: { status: 204 },
      handle: (request) => deleteCredential(sql, request.params.id, callerOf(request)),
    }),
  ];
}
