import type { Inventory, InventoryPlan } from '@opsconductor/protocol';
import { limits } from '@opsconductor/protocol';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { makeSegment, setupInstallation } from '../../../segments/testing.ts';
import { setupApp, type TestApp } from '../../testing.ts';
import { inventoryRoutes } from './inventories.ts';

let t: TestApp;
let token: string;
let segmentId: number;
beforeAll(async () => {
  const installation = await setupInstallation();
  t = await setupApp(inventoryRoutes, { database: installation });
  token = (await t.user('root', ['admin'])).token;
  segmentId = (await makeSegment(installation, 'dmz')).id;
});
afterAll(() => t?.close());

async function call<T>(method: string, path: string, json?: unknown): Promise<{ status: number; body: T }> {
  const reply = await t.request(method, `/api/v1/inventories${path}`, { token, json });
  const text = await reply.text();
  return { status: reply.status, body: (text === '' ? undefined : JSON.parse(text)) as T };
}

it('an Ansible inventory is planned, paged through and applied', async () => {
  const made = await call<Inventory>('POST', '', { name: 'site', format: 'ansible_ini', segmentId });
  expect(made).toMatchObject({ status: 201, body: { segmentName: 'dmz', options: {}, targetCount: 0 } });
  const { id } = made.body;
  const files = [
    {
      path: 'hosts',
      content: `[web]\nweb[1:3] ansible_become=yes\n# ${'x'.repeat(2 * limits.maxRequestBodyBytes)}\n`,
    },
    { path: 'group_vars/web.yml', content: 'ansible_port: 2222\n' },
  ];
  const planned = await call<InventoryPlan>('POST', `/${id}/plan`, { files });
  expect(planned).toMatchObject({
    status: 201,
    body: { counts: { create: 3 }, findings: [{ kind: 'dropped', file: 'hosts', line: 2 }], findingCount: 1 },
  });
  const path = `/${id}/plans/${planned.body.id}`;
  const page = await call<InventoryPlan>('GET', `${path}?action=create&search=web2&limit=1`);
  expect(page.body.items).toMatchObject([
    { name: 'web2', changes: expect.arrayContaining([{ field: 'port', from: null, to: 2222 }]) },
  ]);
  expect((await call('POST', `${path}/apply`, {})).status).toBe(400);
  expect(await call('POST', `${path}/apply`, { gone: 'keep' })).toMatchObject({
    status: 200,
    body: { gone: 'keep' },
  });
  expect((await call('POST', `${path}/apply`, { gone: 'keep' })).status).toBe(409);
  expect((await call('DELETE', `/${id}`)).status).toBe(409);
  expect((await call('DELETE', `/${id}?targets=keep`)).status).toBe(204);
  expect((await call('GET', path)).status).toBe(404);
});

it('all problems of a file are reported with their lines', async () => {
  const { body } = await call<Inventory>('POST', '', { name: 'wrong', format: 'csv', segmentId });
  const files = [{ path: 'hosts.csv', content: 'name,port\na,x\nb c!,1\n' }];
  expect(await call('POST', `/${body.id}/plan`, { files })).toMatchObject({
    status: 400,
    body: { error: { details: [{ path: 'hosts.csv:2' }, { path: 'hosts.csv:3' }, { path: 'hosts.csv:3' }] } },
  });
});

it.each(['../x', '/etc/hosts', 'a/../b', 'a\\b', '.'])(
  'the path %j is refused as a file name',
  async (path) => {
    const reply = await call('POST', '/1/plan', { files: [{ path, content: '' }] });
    expect(reply).toMatchObject({ status: 400, body: { error: { details: [{ path: 'files[0].path' }] } } });
  },
);
