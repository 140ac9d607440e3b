import { checkBySchema, errorCodes } from '@opsconductor/protocol';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { ApiDescription } from './openapi.ts';
import { setupApp, type TestApp, wholeTable } from './testing.ts';

const table = await wholeTable();
let t: TestApp;
beforeAll(async () => {
  t = await setupApp(() => table);
});
afterAll(() => t.close());

async function description(): Promise<ApiDescription> {
  return (await (await t.request('GET', '/api/v1/openapi.json')).json()) as ApiDescription;
}

test('every route of the table is described, once, under a name of its own', async () => {
  const { paths } = await description();
  const described = Object.entries(paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path.replaceAll(/\{(\w+)\}/g, ':$1')}`),
  );
  expect(described.sort()).toEqual(table.map((route) => `${route.method} ${route.path}`).sort());
  const ids = Object.values(paths).flatMap((methods) => Object.values(methods).map((one) => one.operationId));
  expect(new Set(ids).size).toBe(table.length);
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
  visit(await description());
  expect(schemas).toBeGreaterThan(table.length);
});

test('every example of a body is one that its route takes', () => {
  const examples = table.flatMap(({ method, path, body, example }) =>
    body === undefined || example === undefined ? [] : [{ route: `${method} ${path}`, body, example }],
  );
  for (const { route, body, example } of examples) {
    expect({ route, problems: checkBySchema(body, example) }).toEqual({ route, problems: [] });
  }
  const written = examples.map(({ route }) => route);
  for (const { method, path, tag, body } of table) {
    if ((tag === 'site rules' || /^.api.v1.jobs(.:id)?$/.test(path)) && body !== undefined)
      expect(written).toContain(`${method} ${path}`);
  }
});

test('every error code is described, in the description and on the page', async () => {
  const codes = (await description())['x-error-codes'].map(({ code }) => code);
  expect(codes).toEqual(errorCodes);
  const html = await (await t.request('GET', '/api/docs')).text();
  for (const code of errorCodes) expect(html).toContain(`<code>${code}</code>`);
});

test('what needs a sign-in says so, and which permission', async () => {
  const { paths } = await description();
  expect(paths['/api/v1/sign-in']?.post).toMatchObject({ security: [] });
  const me = paths['/api/v1/me']?.get;
  expect(me?.security).toEqual([{ apiToken: [] }, { session: [] }]);
  expect(me?.description).toContain('`self`');
  expect(Object.keys(me?.responses ?? {})).toEqual(['200', '400', '401', '403', '500', '503']);
});

test('the page for people names every route and has neither script nor inline style', async () => {
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

test('who has the description already gets none', async () => {
  const etag = (await t.request('GET', '/api/v1/openapi.json')).headers.get('etag') ?? '';
  const again = await t.request('GET', '/api/v1/openapi.json', {
    headers: { 'If-None-Match': `W/"x", ${etag}` },
  });
  expect([again.status, await again.text()]).toEqual([304, '']);
});
