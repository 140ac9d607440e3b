import { Closed, type ErrorBody, Id } from '@opsconductor/protocol';
import { Type } from 'typebox';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { AppError } from '../errors.ts';
import { createLog } from '../log.ts';
import { createApp } from './app.ts';
import { RequestLimits } from './request-limits.ts';
import { type Principal, type RouteSpec, route } from './route.ts';
import { checkSchemas } from './route-table.ts';
import { setupApp, type TestApp, wholeTable } from './testing.ts';

const Echo = Closed({
  name: Type.String({ minLength: 1, maxLength: 20 }),
  port: Type.Optional(Type.Integer({ minimum: 1, maximum: 65_535, default: 22 })),
  password: Type.Optional(Type.String({ minLength: 12 })),
  tags: Type.Optional(Type.Array(Type.Integer(), { maxItems: 500_000 })),
  host: Type.Optional(Type.String({ pattern: '^[a-z.]+$', description: 'Letters and dots' })),
});
const echoed = { status: 200, schema: Type.Object({ got: Type.Unknown() }) } as const;
const routes: RouteSpec[] = [
  route({
    method: 'POST',
    path: '/api/v1/echo',
    permission: 'jobs.edit',
    summary: 'Echo',
    tag: 'test',
    body: Echo,
    maxBodyBytes: 50_000,
    success: echoed,
    handle: ({ body }) => ({ got: body }),
  }),
  route({
    method: 'GET',
    path: '/api/v1/things/:id',
    permission: 'read',
    summary: 'Thing',
    tag: 'test',
    params: Closed({ id: Id }),
    query: Closed({
      deep: Type.Optional(Type.Boolean()),
      limit: Type.Optional(Type.Integer({ default: 5 })),
    }),
    success: echoed,
    handle: ({ params, query }) => ({ got: { ...params, ...query } }),
  }),
  route({
    method: 'PUT',
    path: '/api/v1/things/:id',
    permission: 'read',
    summary: 'Change a thing',
    tag: 'test',
    params: Closed({ id: Id }),
    query: Closed({
      deep: Type.Optional(Type.Boolean()),
      limit: Type.Optional(Type.Integer({ default: 5 })),
    }),
    body: Echo,
    success: echoed,
    handle: ({ body }) => ({ got: body }),
  }),
  route({
    method: 'GET',
    path: '/api/v1/things/health',
    permission: 'public',
    summary: 'Health',
    tag: 'test',
    success: echoed,
    handle: () => ({ got: 'health' }),
  }),
  route({
    method: 'GET',
    path: '/api/v1/broken',
    permission: 'public',
    summary: 'Broken',
    tag: 'test',
    success: echoed,
    handle: () => {
      throw new Error('connection to db.internal refused');
    },
  }),
  route({
    method: 'GET',
    path: '/api/v1/busy',
    permission: 'public',
    summary: 'Busy',
    tag: 'test',
    success: echoed,
    handle: () => {
      throw new AppError('rate_limited', 'Later.', { retryAfterS: 3.2 });
    },
  }),
];

let t: TestApp;
let author: string;
let viewer: string;
beforeAll(async () => {
  t = await setupApp(() => routes);
  author = (await t.user('author', ['author'])).token;
  viewer = (await t.user('viewer', ['viewer'])).token;
});
afterAll(() => t.close());

async function refusal(response: Response, status: number): Promise<ErrorBody['error']> {
  expect(response.status).toBe(status);
  const { error } = (await response.json()) as ErrorBody;
  expect(error.requestId).toBe(response.headers.get('x-request-id'));
  return error;
}

describe('bodies', () => {
  test('defaults are filled in', async () => {
    const response = await t.request('POST', '/api/v1/echo', { token: author, json: { name: 'a' } });
    expect(await response.json()).toEqual({ got: { name: 'a', port: 22 } });
  });

  test('every wrong field is reported, with what was found and what is allowed', async () => {
    const json = { port: '22', password: 'hunter2', nmae: 'x' };
    const error = await refusal(await t.request('POST', '/api/v1/echo', { token: author, json }), 400);
    expect(error.code).toBe('invalid');
    expect(error.details).toEqual(
      expect.arrayContaining([
        { path: 'name', message: 'Is missing.', allowed: 'a string of 1 to 20 characters' },
        {
          path: 'nmae',
          message: 'Is not known here; did you mean name?',
          allowed: 'name, port, password, tags, host',
        },
        {
          path: 'port',
          message: 'Must be an integer; write it without quotes.',
          found: '"22"',
          allowed: 'an integer from 1 to 65535',
        },
        {
          path: 'password',
          message: 'Must have at least 12 characters.',
          allowed: 'a string of at least 12 characters',
        },
      ]),
    );
    expect(error.details).toHaveLength(4);
    expect(JSON.stringify(error)).not.toContain('hunter2');
  });

  test('a body with a very large number of mistakes gets a short answer', async () => {
    const json = { name: 'a', tags: Array.from({ length: 12_000 }, () => 'x') };
    const error = await refusal(await t.request('POST', '/api/v1/echo', { token: author, json }), 400);
    expect(error.details).toHaveLength(1);
    const few = { name: 'a', tags: Array.from({ length: 500 }, () => 'x') };
    const fewer = await refusal(await t.request('POST', '/api/v1/echo', { token: author, json: few }), 400);
    expect(fewer.details).toHaveLength(20);
  });

  test('malformed JSON is refused with line and column, and none of it is quoted', async () => {
    const body = '{\n  "name": "s3cret",\n  "port": 22,,\n}';
    const error = await refusal(await t.request('POST', '/api/v1/echo', { token: author, body }), 400);
    expect(error.message).toBe(
      'The request body is not JSON: line 3, column 14: expected a name in double quotes.',
    );
    expect(JSON.stringify(error)).not.toContain('s3cret');
  });

  test('a body that is too large is refused while it is read', async () => {
    let pulled = 0;
    const body = new ReadableStream({
      pull(controller) {
        pulled++;
        controller.enqueue(new TextEncoder().encode(' '.repeat(10_000)));
        if (pulled === 1_000) controller.close();
      },
    });
    const error = await refusal(await t.request('POST', '/api/v1/echo', { token: author, body }), 413);
    expect(error.code).toBe('too_large');
    expect(pulled).toBeLessThan(20);
  });

  test('other content types, bytes that are not UTF-8, deep nesting and NUL are refused', async () => {
    const headers = { 'Content-Type': 'text/plain' };
    await refusal(await t.request('POST', '/api/v1/echo', { token: author, body: '{}', headers }), 415);
    const latin = new ReadableStream({
      start(controller) {
        controller.enqueue(Uint8Array.of(0x22, 0xe9, 0x22));
        controller.close();
      },
    });
    const notUtf8 = await refusal(
      await t.request('POST', '/api/v1/echo', { token: author, body: latin }),
      400,
    );
    expect(notUtf8.message).toBe('The request body is not UTF-8.');
    expect(notUtf8.details).toMatchObject([{ path: '', allowed: 'UTF-8 (RFC 3629)' }]);
    const deep = `${'['.repeat(65)}${']'.repeat(65)}`;
    const nested = await refusal(await t.request('POST', '/api/v1/echo', { token: author, body: deep }), 400);
    expect(nested.message).toContain('nested deeper than 64');
    expect(nested.details).toMatchObject([{ path: '', allowed: expect.stringContaining('64') }]);
    const withNul = await t.request('POST', '/api/v1/echo', { token: author, json: { name: 'a\0b' } });
    expect((await refusal(withNul, 400)).details?.[0]?.path).toBe('name');
  });

  test('a name that occurs twice in an object is refused with its position, and not quoted', async () => {
    const body = '{"name": "seen",\n "name": "kept"}';
    const error = await refusal(await t.request('POST', '/api/v1/echo', { token: author, body }), 400);
    expect(error).toMatchObject({
      message: 'The request body is ambiguous: Line 2, column 2: This key occurs twice.',
      details: [{ line: 2, column: 2 }],
    });
  });

  test('the message alone says what is allowed where a field has another form', async () => {
    const json = { name: 'a', host: 'b/c' };
    const error = await refusal(await t.request('POST', '/api/v1/echo', { token: author, json }), 400);
    expect(error.message).toBe(
      'host: Has characters or a form that are not allowed. Allowed: a string: letters and dots.',
    );
    expect(error.details).toMatchObject([
      { path: 'host', found: '"b/c"', allowed: 'a string: letters and dots' },
    ]);
  });

  test('a request without a body is told which fields are missing', async () => {
    const error = await refusal(await t.request('POST', '/api/v1/echo', { token: author }), 400);
    expect(error.message).toBe('name: Is missing.');
  });
});

describe('paths and queries', () => {
  test('integers and booleans are read strictly', async () => {
    const good = await t.request('GET', '/api/v1/things/12?deep=true', { token: viewer });
    expect(await good.json()).toEqual({ got: { id: 12, deep: true, limit: 5 } });
    for (const path of ['things/1e3', 'things/012', 'things/-0', 'things/9007199254740993', 'things/abc']) {
      const error = await refusal(await t.request('GET', `/api/v1/${path}`, { token: viewer }), 400);
      expect(error.message).toBe('id: Must be a whole number from 1 to 9007199254740991 in plain digits.');
      expect(error.details).toMatchObject([{ path: 'id', found: JSON.stringify(path.slice(7)) }]);
    }
    const zero = await refusal(await t.request('GET', '/api/v1/things/0', { token: viewer }), 400);
    expect(zero.message).toBe('id: Must be at least 1.');
    for (const query of ['deep=1', 'deep=TRUE', 'limit=', 'limit=5.0', 'limit=+5']) {
      const error = await refusal(
        await t.request('GET', `/api/v1/things/1?${query}`, { token: viewer }),
        400,
      );
      expect(error.details?.[0]?.path).toMatch(/^query\./);
    }
  });

  test('unknown and repeated query values are refused', async () => {
    const unknown = await t.request('GET', '/api/v1/things/1?limt=5', { token: viewer });
    expect((await refusal(unknown, 400)).details?.[0]).toMatchObject({
      path: 'query.limt',
      message: 'Is not known here; did you mean limit?',
    });
    const twice = await t.request('GET', '/api/v1/things/1?limit=5&limit=6', { token: viewer });
    expect((await refusal(twice, 400)).details?.[0]?.path).toBe('query.limit');
    const proto = await t.request('GET', '/api/v1/things/1?__proto__=5', { token: viewer });
    await refusal(proto, 400);
    for (const query of ['=5', 'limit=5&=', '%3D=5&=x=y']) {
      const nameless = await t.request('GET', `/api/v1/things/1?${query}`, { token: viewer });
      expect((await refusal(nameless, 400)).details).toContainEqual({
        path: 'query',
        message: 'Has a value without a name.',
        allowed: 'name=value',
      });
    }
    // Nothing is given by these.
    for (const query of ['', '&', 'limit=5&&', 'limit=5&'])
      expect((await t.request('GET', `/api/v1/things/1?${query}`, { token: viewer })).status).toBe(200);
  });

  test('mistakes in path, query and body are reported together', async () => {
    const path = '/api/v1/things/x?limit=5.0&limt=1&deep=yes&deep=no';
    const error = await refusal(
      await t.request('PUT', path, { token: author, json: { name: 5, port: 0, password: 'a\0 long one' } }),
      400,
    );
    expect(error.details?.map((detail) => detail.path).sort()).toEqual([
      'id',
      'name',
      'password',
      'port',
      'query.deep',
      'query.limit',
      'query.limt',
    ]);
    for (const detail of error.details ?? [])
      expect(`${detail.message}${detail.allowed}`).toMatch(/^[A-Z]\w+/);
  });

  test('a literal segment wins over a parameter, whatever their order in the table', async () => {
    const response = await t.request('GET', '/api/v1/things/health');
    expect(await response.json()).toEqual({ got: 'health' });
  });
});

describe('conditions', () => {
  test('a change on a condition that its route does not heed is refused', async () => {
    const changed = t.request('PUT', '/api/v1/things/1', {
      token: viewer,
      json: { name: 'a' },
      headers: { 'If-Match': '"3"' },
    });
    const error = await refusal(await changed, 400);
    expect(error.message).toBe('If-Match: Is not heeded here; leave it out.');
    const read = await t.request('GET', '/api/v1/things/1', {
      token: viewer,
      headers: { 'If-Match': '"3"' },
    });
    expect(read.status).toBe(200);
  });
});

describe('unknown addresses', () => {
  test('a path with a slash at the end is told to leave it out', async () => {
    const error = await refusal(await t.request('GET', '/api/v1/things/1/', { token: viewer }), 404);
    expect(error.message).toBe('There is no such path on this server. Leave out the slash at the end.');
  });

  test('an unknown API path is 404 in JSON and another method 405 with Allow', async () => {
    expect((await refusal(await t.request('GET', '/api/v1/nothing'), 404)).code).toBe('not_found');
    const response = await t.request('DELETE', '/api/v1/things/1', { token: viewer });
    expect(response.headers.get('allow')).toBe('GET, HEAD, PUT');
    await refusal(response, 405);
  });

  test('a host name that is not this server is 421; IP addresses and localhost are fine', async () => {
    for (const host of ['evil.example', 'localhost.evil.example', '127.0.0.1.nip.io', 'a b', '']) {
      await refusal(await t.request('GET', '/api/v1/things/health', { headers: { Host: host } }), 421);
    }
    for (const host of ['localhost:7700', '127.0.0.1', '[::1]:7700', 'LOCALHOST']) {
      const response = await t.request('GET', '/api/v1/things/health', { headers: { Host: host } });
      expect(response.status).toBe(200);
    }
  });
});

describe('errors', () => {
  test('an unexpected error is logged in full and answered with a request id', async () => {
    const error = await refusal(await t.request('GET', '/api/v1/broken'), 500);
    expect(error).toEqual({ code: 'internal', message: 'Internal error.', requestId: error.requestId });
    const line = t.logged.find((one) => one.includes('db.internal'));
    expect(line).toContain(error.requestId);
  });

  test('a rate limit says when to try again', async () => {
    const response = await t.request('GET', '/api/v1/busy');
    expect(response.headers.get('retry-after')).toBe('4');
    await refusal(response, 429);
  });
});

test('every answer carries the security headers, even errors', async () => {
  for (const path of [
    '/api/v1/things/health',
    '/api/v1/nothing',
    '/api/v1/broken',
    '/healthz',
    '/api/docs',
  ]) {
    const { headers } = await t.request('GET', path);
    expect(headers.get('content-security-policy')).toBe(
      "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; font-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    );
    expect(headers.get('x-content-type-options')).toBe('nosniff');
    expect(headers.get('referrer-policy')).toBe('no-referrer');
    expect(headers.get('cross-origin-opener-policy')).toBe('same-origin');
    expect(headers.get('cross-origin-resource-policy')).toBe('same-origin');
    expect(headers.get('strict-transport-security')).toBeNull();
  }
  const api = await t.request('GET', '/api/v1/things/health');
  expect(api.headers.get('cache-control')).toBe('no-store');
});

test('an answer that differs from the description of its route is an error if replies are checked', async () => {
  const answering = (path: string, success: RouteSpec['success'], handle: RouteSpec['handle']) =>
    route({
      method: 'GET',
      path: `/api/v1/${path}`,
      permission: 'public',
      summary: 's',
      tag: 't',
      success,
      handle,
    });
  const json = { status: 200, schema: Type.Object({ id: Type.Integer() }) } as const;
  const open = { status: 200, schema: Type.Object({}, { additionalProperties: true }) } as const;
  const app = await setupApp(() => [
    answering('unnamed', json, () => ({ id: 1, name: 'one' })),
    answering('open', open, () => ({ id: 1, name: 'one' })),
    answering('value', json, () => ({ id: '1' })),
    answering('own-answer', json, () => Response.json({ id: '1' })),
    answering('status', json, () => Response.json({ id: 1 }, { status: 201 })),
    answering('type', json, () => new Response('1')),
    answering('body', { status: 204 }, () => new Response('1', { status: 200 })),
    answering('refusal', json, () => {
      throw new AppError('conflict', 'Not now.');
    }),
    answering('well', json, () => ({ id: 1 })),
  ]);
  try {
    const statuses: Record<string, number> = {};
    for (const path of [
      'unnamed',
      'open',
      'value',
      'own-answer',
      'status',
      'type',
      'body',
      'refusal',
      'well',
    ])
      statuses[path] = (await app.request('GET', `/api/v1/${path}`)).status;
    expect(statuses).toEqual({
      unnamed: 500,
      open: 200,
      value: 500,
      'own-answer': 500,
      status: 500,
      type: 500,
      body: 500,
      refusal: 500,
      well: 200,
    });
  } finally {
    await app.close();
  }
});

describe('mistakes in the table keep the server from starting', () => {
  const base = {
    permission: 'public',
    summary: 's',
    tag: 't',
    success: { status: 204 },
    handle: () => {},
  } as const;
  const start = (...table: RouteSpec[]) => {
    const authenticator = {
      changes: 0,
      wasGood: () => false,
      bySession: async (): Promise<Principal | undefined> => undefined,
      byApiToken: async (): Promise<Principal | undefined> => undefined,
      expiryOf: () => Promise.resolve(undefined),
      again: async (): Promise<Principal | undefined> => undefined,
    };
    return createApp({
      routes: table,
      authenticator,
      access: { hosts: [], origins: [], https: false, behindTlsProxy: false },
      cookieName: 'c',
      limits: new RequestLimits(() => new Date()),
      onForbidden: async () => {},
      checkReplies: true,
      log: createLog({ level: 'silent', plain: false }),
      probes: { notReady: async () => [], caPem: undefined, agentBundle: async () => '' },
      console: { answer: () => undefined },
    });
  };

  test('a duplicate route', () => {
    const one = route({ ...base, method: 'GET', path: '/api/v1/a/:id', params: Closed({ id: Id }) });
    const other = route({ ...base, method: 'GET', path: '/api/v1/a/:name', params: Closed({ name: Id }) });
    expect(() => start(one, other)).toThrow('twice');
  });

  test('a path parameter without a schema', () => {
    expect(() => start(route({ ...base, method: 'GET', path: '/api/v1/a/:id' }))).toThrow('params differ');
  });

  test('a schema that ajv refuses in strict mode', () => {
    const body = Type.Unsafe({ type: 'object', maxmum: 3 });
    expect(() => checkSchemas([route({ ...base, method: 'POST', path: '/api/v1/a', body })])).toThrow(
      'maxmum',
    );
  });

  test('a schema that is not one', () => {
    const body = Type.Unsafe({ type: 'object', required: 'name' });
    expect(() => checkSchemas([route({ ...base, method: 'POST', path: '/api/v1/a', body })])).toThrow(
      'required',
    );
  });
});

test('every schema of the table can be compiled', async () => {
  const table = await wholeTable();
  expect(() => checkSchemas(table)).not.toThrow();
});
