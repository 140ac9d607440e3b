import {
  Closed,
  CreateCredentialRequestSchema,
  CreateCredentialVersionRequestSchema,
  CredentialQuerySchema,
  CredentialSchema,
  CredentialUsageSchema,
  Page,
  UpdateCredentialRequestSchema,
} from '@opsconductor/protocol';
import { Type } from 'typebox';
import { callerOf } from '../../caller.ts';
import {
  createCredential,
  deleteCredential,
  replaceCredential,
  updateCredential,
} from '../../credentials/edit-credentials.ts';
import { credentialUsage, getCredential, listCredentials } from '../../credentials/list-credentials.ts';
import type { Sql } from '../../store/database/connection.ts';
import { type RouteSpec, route } from '../route.ts';

const tag = 'credentials';
const usageExample = {
  targets: {
    total: 2,
    items: [
      { id: 4, name: 'web-1' },
      { id: 5, name: 'web-2' },
    ],
  },
  groups: { total: 0, items: [] },
  segment: false,
  jobs: { total: 1, items: [{ id: 12, name: 'Restart the web servers' }] },
};
const params = Closed({ id: Type.String({ format: 'uuid' }) });

export function credentialRoutes({ sql }: { sql: Sql }): RouteSpec[] {
  return [
    route({
      method: 'GET',
      path: '/api/v1/credentials',
      permission: 'read',
      scoped: true,
      summary: 'List credentials, without what they seal',
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
      summary: 'Create a credential that is already sealed to its segment',
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
      method: 'GET',
      path: '/api/v1/credentials/:id/usage',
      permission: 'read',
      scoped: true,
      summary: 'List what uses a credential',
      description:
        'Lists what the caller may read: targets and groups that it is set on, whether its segment sets it, and jobs whose current version asks for a credential of this name.',
      tag,
      params,
      success: { status: 200, schema: CredentialUsageSchema, example: usageExample },
      handle: ({ params, principal }) => credentialUsage(sql, params.id, principal.authority.reach('read')),
    }),
    route({
      method: 'PUT',
      path: '/api/v1/credentials/:id',
      permission: 'credentials.edit',
      scoped: true,
      summary: 'Change a credential’s description and the day on which its secret expires',
      description:
        'Fields that are left out stay unchanged, as do the sealed secret and its version. `expected` gives the values that fields had before the change; if any of them differs by now, the answer is 409, with a detail for each.',
      tag,
      params,
      body: UpdateCredentialRequestSchema,
      example: { description: 'Deploys to the web servers', expiresOn: '2027-01-31' },
      success: { status: 200, schema: CredentialSchema },
      handle: (request) => updateCredential(sql, request.params.id, request.body, callerOf(request)),
    }),
    route({
      method: 'POST',
      path: '/api/v1/credentials/:id/versions',
      permission: 'credentials.edit',
      scoped: true,
      summary: 'Replace the secret of a credential',
      description:
        'Send it sealed to the segment’s current key, as `version`: one more than the current version. Steps that are leased from then on get it.',
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
