import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { checkBySchema, errorCodes } from '@opsconductor/protocol';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { setupApp, type TestApp, wholeTable } from '../testing.ts';
import type { ApiDescription } from './openapi.ts';

const table = await wholeTable();
let t: TestApp;
beforeAll(async () => {
  t = await setupApp(() => table);
});
afterAll(() => t.close());

/** As the specification names them. */
const specified = [
  'POST jobs',
  'GET jobs',
  'GET jobs/{id}',
  'PUT jobs/{id}',
  'DELETE jobs/{id}',
  'POST jobs/{id}/run',
  'GET jobs/health',
  'GET runs',
  'GET runs/{id}',
  'GET runs/{id}/steps',
  'DELETE runs/{id}',
  'GET executor/status',
  'POST executor/cancel/{id}',
  'GET worker/status',
];

async function description(): Promise<ApiDescription> {
  return (await (await t.request('GET', '/api/v1/openapi.json')).json()) as ApiDescription;
}

test('every route of the table is described exactly once, under a unique name', async () => {
  const { paths } = await description();
  const described = Object.entries(paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path.replaceAll(/\{(\w+)\}/g, ':$1')}`),
  );
  expect(described.sort()).toEqual(table.map((route) => `${route.method} ${route.path}`).sort());
  const ids = Object.values(paths).flatMap((methods) => Object.values(methods).map((one) => one.operationId));
  expect(new Set(ids).size).toBe(table.length);
});

test('every whole number in a request has bounds, so that none reaches the database that it can’t keep', () => {
  const unbounded = table.flatMap(({ method, path, params, query, body }) =>
    [params, query, body].flatMap((part) =>
      integersIn(part)
        .filter(({ minimum, maximum }) => minimum === undefined || !Number.isSafeInteger(maximum))
        .map((schema) => `${method} ${path}: ${JSON.stringify(schema)}`),
    ),
  );
  expect(unbounded).toEqual([]);
});

function integersIn(schema: unknown): { minimum?: number; maximum?: number }[] {
  if (typeof schema !== 'object' || schema === null) return [];
  const inner = Object.values(schema).flatMap(integersIn);
  const { type, ...bounds } = schema as { type?: unknown; minimum?: number; maximum?: number };
  return type === 'integer' ? [bounds, ...inner] : inner;
}

test('docs/api.md names the path of every route', async () => {
  const page = await readFile(join(import.meta.dirname, '../../../../docs/api.md'), 'utf8');
  const named = new Set(
    [...page.matchAll(/`(?:GET|POST|PUT|DELETE) ([^`?]+)[^`]*`/g)].map(([, path]) => path),
  );
  const paths = table.filter(({ path }) => path.startsWith('/api/v1/')).map(({ path }) => path.slice(8));
  expect([...new Set(paths)].filter((path) => !named.has(path))).toEqual([]);
});

test('docs/api.md describes every event of the live stream', async () => {
  const here = import.meta.dirname;
  const live = ['run-stream.ts', 'stream-output.ts'].map((file) => `../../runs/live/${file}`);
  const sources = [...live, '../routes/runs/run-events.ts'];
  const written = (await Promise.all(sources.map((source) => readFile(join(here, source), 'utf8')))).flatMap(
    (text) => [...text.matchAll(/event: (\w+)\\n/g)].map(([, event]) => event),
  );
  expect(written).toContain('end');
  const page = await readFile(join(here, '../../../../docs/api.md'), 'utf8');
  // `started` is sent only if a start is answered with the stream.
  const told = [...page.matchAll(/^\| `(\w+)` \| .* \| (?:yes|no).* \|$/gm)].map(([, event]) => event);
  expect(new Set(told)).toEqual(new Set(written.filter((event) => event !== 'started')));
});

test('the schemas that docs/api.md names are in the description under these names', async () => {
  const page = await readFile(join(import.meta.dirname, '../../../../docs/api.md'), 'utf8');
  const named = new Set([...page.matchAll(/`([A-Z][A-Za-z]+)`/g)].map(([, name = '']) => name));
  expect(named.size).toBeGreaterThan(100);
  const { schemas } = (await description()).components;
  // A query is described as parameters.
  const others = ['POST', 'PUT', 'DELETE', 'ETag', 'Range'];
  const missing = [...named].filter(
    (name) => !(name in schemas) && !name.endsWith('Query') && !others.includes(name),
  );
  expect(missing).toEqual([]);
});

test('a schema that has a name is described once, and referred to everywhere else', async () => {
  const { components, paths } = await description();
  const texts = new Map(
    Object.entries(components.schemas).map(([name, schema]) => [JSON.stringify(schema), name]),
  );
  const repeated: string[] = [];
  const visit = (value: unknown): void => {
    if (typeof value !== 'object' || value === null) return;
    const name = texts.get(JSON.stringify(value));
    if (name !== undefined) repeated.push(name);
    for (const inner of Object.values(value)) visit(inner);
  };
  visit(paths);
  for (const schema of Object.values(components.schemas))
    for (const inner of Object.values(schema ?? {})) visit(inner);
  expect(repeated).toEqual([]);
  expect(paths['/api/v1/runs/{id}']?.get?.responses['200']).toMatchObject({
    content: { 'application/json': { schema: { $ref: '#/components/schemas/RunDetail' } } },
  });
});

test('every reference in the description leads to a schema', async () => {
  const whole = await description();
  const referred = [...JSON.stringify(whole).matchAll(/"\$ref":"#\/components\/schemas\/([^"]+)"/g)];
  const missing = referred.filter(([, name = '']) => !(name in whole.components.schemas));
  expect(missing).toEqual([]);
  expect(JSON.stringify(whole).match(/"\$ref":/g)).toHaveLength(referred.length);
});

test('every schema in the description is JSON Schema 2020-12', async () => {
  const ajv = new Ajv2020({ strict: false, validateFormats: false });
  let schemas = 0;
  const visit = (value: unknown): void => {
    if (typeof value !== 'object' || value === null) return;
    for (const [name, inner] of Object.entries(value)) {
      if (name === 'schema' && !('$ref' in (inner as object))) {
        schemas++;
        expect(ajv.validateSchema(inner), JSON.stringify(ajv.errors)).toBe(true);
      } else visit(inner);
    }
  };
  const whole = await description();
  for (const schema of Object.values(whole.components.schemas)) visit({ schema });
  visit(whole.paths);
  expect(schemas).toBeGreaterThan(table.length);
});

test('every example is valid for what its route takes or answers', () => {
  for (const { method, path, body, example, success } of table) {
    const route = `${method} ${path}`;
    const examples = [
      { schema: body, example },
      { schema: success.schema, example: success.example },
    ];
    for (const { schema, example } of examples) {
      if (example === undefined) continue;
      const problems = schema === undefined ? ['an example of nothing'] : checkBySchema(schema, example);
      expect({ route, problems }).toEqual({ route, problems: [] });
    }
  }
});

test('every body of a route of jobs, runs, categories and site rules has an example', () => {
  const tags = ['jobs', 'runs', 'categories', 'site rules'];
  const without = table.filter(
    ({ tag, body, example }) => tags.includes(tag) && body !== undefined && example === undefined,
  );
  expect(without.map(({ method, path }) => `${method} ${path}`)).toEqual([]);
});

test('every endpoint of the specification has an example of its answer, and its errors', async () => {
  const { paths } = await description();
  for (const line of specified) {
    const [method = '', path = ''] = line.split(' ');
    const { responses = {} } = paths[`/api/v1/${path}`]?.[method.toLowerCase()] ?? {};
    const [success = '', ...errors] = Object.keys(responses);
    expect({ line, errors }).toEqual({ line, errors: expect.arrayContaining(['400', '401', '403', '500']) });
    if (path.includes('{id}'))
      expect({ line, errors }).toEqual({ line, errors: expect.arrayContaining(['404']) });
    const json = (responses[success] as { content?: Record<string, object> }).content?.['application/json'];
    expect({ line, json }).toEqual({
      line,
      json: success === '204' ? undefined : expect.objectContaining({ example: expect.anything() }),
    });
  }
});

test('every error code is described, in the description and on the page', async () => {
  const codes = (await description())['x-error-codes'].map(({ code }) => code);
  expect(codes).toEqual(errorCodes);
  const html = await (await t.request('GET', '/api/docs')).text();
  for (const code of errorCodes) expect(html).toContain(`<code>${code}</code>`);
});

test('a route that needs a sign-in says so, and names the permission', async () => {
  const { paths } = await description();
  expect(paths['/api/v1/sign-in']?.post).toMatchObject({ security: [] });
  const me = paths['/api/v1/me']?.get;
  expect(me?.security).toEqual([{ apiToken: [] }, { session: [] }]);
  expect(me?.description).toContain('`self`');
  expect(Object.keys(me?.responses ?? {})).toEqual(['200', '400', '401', '403', '421', '429', '500', '503']);
});

test('the page for people lists every route and has neither scripts nor inline styles', async () => {
  const response = await t.request('GET', '/api/docs');
  expect(response.headers.get('content-type')).toBe('text/html; charset=utf-8');
  const html = await response.text();
  for (const route of table)
    expect(html).toContain(`<code>${route.path.replaceAll(/:(\w+)/g, '{$1}')}</code>`);
  expect(html).not.toMatch(/<script|style=|<style| on\w+=/);
  const styles = [...html.matchAll(/(?:href|src)="(\/[^"]+)"/g)].map((match) => match[1] ?? '');
  expect(styles).toContain('/api/docs.css');
  for (const link of styles) expect((await t.request('GET', link)).status).toBe(200);
});

test('a client that already has the description is not sent it again', async () => {
  const etag = (await t.request('GET', '/api/v1/openapi.json')).headers.get('etag') ?? '';
  const again = await t.request('GET', '/api/v1/openapi.json', {
    headers: { 'If-None-Match': `W/"x", ${etag}` },
  });
  expect([again.status, await again.text()]).toEqual([304, '']);
});

test('a route that changes a version describes the header that names the version', async () => {
  const { paths } = await description();
  const taking = Object.entries(paths).flatMap(([path, operations]) =>
    Object.entries(operations).flatMap(([method, { parameters = [] }]) =>
      parameters.some((one) => (one as { name?: string }).name === 'If-Match') ? [`${method} ${path}`] : [],
    ),
  );
  expect(taking).toEqual(['put /api/v1/jobs/{id}', 'put /api/v1/site-rules/{id}']);
});

test('answers with another status or another type are described besides the usual one', async () => {
  const { paths } = await description();
  const answersOf = (method: string, path: string) =>
    Object.entries(paths[`/api/v1/${path}`]?.[method]?.responses ?? {}).flatMap(([status, answer]) => {
      if (status >= '300' && status !== '416') return [];
      const types = Object.keys((answer as { content?: object }).content ?? {});
      return types.length === 0 ? [status] : types.map((type) => `${status} ${type}`);
    });
  expect(answersOf('delete', 'runs/{id}')).toEqual(['202 application/json', '204']);
  const bytes = ['206 application/octet-stream', '416'];
  expect(answersOf('get', 'runs/{id}/steps/{step}/output')).toEqual([
    ...['200 application/json', '200 text/plain', '200 application/octet-stream'],
    ...['206 text/plain', ...bytes],
  ]);
  for (const path of ['files/{id}/content', 'runs/{id}/artifacts/{artifact}/content'])
    expect(answersOf('get', path)).toEqual(['200 application/octet-stream', ...bytes]);
  expect(answersOf('get', 'audit/export')).toEqual(['200 application/x-ndjson', '200 text/csv']);
  expect(answersOf('get', 'jobs/export')).toEqual(['200 application/yaml', '200 application/json']);
  for (const path of ['jobs/{id}/run', 'runs/{id}/rerun'])
    expect(answersOf('post', path)).toEqual(['201 application/json', '201 text/event-stream']);
});

test('an answer that may be text instead of JSON says so, for clients that are generated', async () => {
  const { paths } = await description();
  const contentOf = (method: string, path: string, status: string) =>
    (paths[`/api/v1/${path}`]?.[method]?.responses?.[status] as { content?: object } | undefined)?.content;
  const text = { schema: { type: 'string' } };
  for (const path of ['jobs/{id}/run', 'runs/{id}/rerun'])
    expect(contentOf('post', path, '201')).toMatchObject({
      'application/json': { schema: { $ref: '#/components/schemas/RunDetail' } },
      'text/event-stream': text,
    });
  expect(contentOf('get', 'runs/{id}/steps/{step}/output', '200')).toMatchObject({
    'text/plain': text,
    'application/octet-stream': {},
  });
});

test('a route that can answer with a part takes a Range', async () => {
  const { paths } = await description();
  for (const operations of Object.values(paths))
    for (const { operationId, parameters = [], responses } of Object.values(operations)) {
      const takesRange = parameters.some((one) => (one as { name?: string }).name === 'Range');
      expect({ operationId, takesRange }).toEqual({ operationId, takesRange: '206' in responses });
    }
});
