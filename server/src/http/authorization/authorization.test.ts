// Walks the whole table: only routes that are named public here answer a caller without rights.
import { permissions } from '@opsconductor/protocol';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Authority } from '../../auth/authority.ts';
import type { Principal, RouteSpec } from '../route.ts';
import { setupApp, type TestApp, wholeTable } from '../testing.ts';

const publicRoutes = [
  'GET /api/v1/schemas/job',
  'GET /api/v1/schemas/steps/:type',
  'POST /api/v1/agent/enroll',
  'POST /api/v1/agent/segment-key',
  'POST /api/v1/sign-in',
  'POST /api/v1/sign-in/exchange',
];

const nameOf = (route: RouteSpec) => `${route.method} ${route.path}`;
const table = await wholeTable();
let t: TestApp;
let caller: Principal | undefined;

beforeAll(async () => {
  t = await setupApp(
    () => table.map((route) => ({ ...route, handle: () => new Response(null, { status: 299 }) })),
    {
      authenticator: {
        changes: 0,
        wasGood: () => false,
        bySession: async () => caller,
        byApiToken: async () => caller,
        expiryOf: () => Promise.resolve(undefined),
        again: async () => caller,
      },
      cookieName: 'c',
    },
  );
});
afterAll(() => t.close());

test('the walk finds the routes of this folder', () => {
  expect(table.map(nameOf)).toEqual(expect.arrayContaining(['GET /api/v1/me', 'GET /api/v1/agents']));
});

test('only the routes named here are public', () => {
  const found = table.filter((route) => route.permission === 'public').map(nameOf);
  expect(found.sort()).toEqual(publicRoutes);
});

describe.each(
  table.filter((route) => route.permission !== 'public').map((route) => [nameOf(route), route] as const),
)('%s', (_, route) => {
  const path = route.path.replaceAll(/:\w+/g, '1');

  test('refuses someone who is not signed in', async () => {
    caller = undefined;
    expect((await t.request(route.method, path)).status).toBe(401);
    expect((await t.request(route.method, path, { headers: { Cookie: 'c=stale' } })).status).toBe(401);
  });

  test('refuses a caller with every permission but the one it names, before it looks at the request', async () => {
    const others = permissions.filter((permission) => permission !== route.permission);
    const admin = { role: 'admin', permission: null, scope: null } as const;
    const authority = new Authority([admin], { permissions: others, scopes: null });
    // A different caller for each route, because not every refusal of the same caller is recorded.
    caller = { userId: table.indexOf(route) + 1, name: 'eve', authority, via: 'api_token', viaId: 1 };
    const malformed = route.method === 'GET' ? {} : { body: '{' };
    const reply = await t.request(route.method, path, { token: 'x'.repeat(40), ...malformed });
    expect(reply.status).toBe(403);
    const rows =
      await t.sql`select detail from audit_log where action = 'request.refused' order by id desc limit 1`;
    expect(rows[0]?.detail).toMatchObject({
      method: route.method,
      path: route.path,
      permission: route.permission,
    });
  });
});
