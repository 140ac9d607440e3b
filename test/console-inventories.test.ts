// Imports of targets from inventories, as a person does them in the console.
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { ConsoleSystem, eventually, missing } from './console-browser.ts';

let c: ConsoleSystem;
beforeAll(async () => {
  if (missing === undefined) c = await ConsoleSystem.start();
}, 120_000);
afterEach(() => c?.closePages());
afterAll(() => c?.stop());

test('a pasted list is imported; what has changed since it was planned is shown, and planned again', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const { api } = c.system;
  const target = await api.get<{ items: { segmentId: number; segmentName: string }[] }>('/api/v1/targets');
  const segment = target.body.items[0];
  if (segment === undefined) throw new Error('The system has no target.');
  const { page, faults } = await c.withSession();
  await page.goto(`${c.url}/targets/inventories`);
  await page.getByRole('link', { name: 'Import the first inventory' }).click();
  const paste = async (text: string) => {
    await page.getByRole('button', { name: 'Paste…' }).click();
    await page.getByRole('textbox', { name: 'Text of the inventory' }).fill(text);
    await page.getByRole('button', { name: 'Use this text' }).click();
  };
  const plan = page.getByRole('button', { name: /^Plan the import/ });
  await paste('name;host;prot\nweb-1;10.0.0.1;22\n');
  await page.getByRole('textbox', { name: 'Name of the inventory' }).fill('office');
  await page.getByRole('combobox', { name: 'Segment' }).selectOption({ label: segment.segmentName });
  await plan.click();
  // Refused with its line, and nothing is left of it.
  await page
    .getByRole('alert')
    .getByText(/\bpasted:1\b/)
    .waitFor();
  expect((await api.get<{ items: unknown[] }>('/api/v1/inventories')).body.items).toEqual([]);
  await paste('name;host;label:env\nweb-1;10.0.0.1;prod\nweb-2;10.0.0.2;stage\n');
  await plan.click();
  await page.getByRole('button', { name: /create 2/ }).waitFor();

  await api.made('/api/v1/targets', { segmentId: segment.segmentId, name: 'web-2', host: '10.0.0.9' });
  await page.getByRole('button', { name: 'Apply to 2 targets' }).click();
  await page.getByText('Nothing was applied.').waitFor();
  await page.getByRole('alert').getByText(`${segment.segmentName}: web-2`).waitFor();
  await page.getByRole('button', { name: 'Plan again' }).click();
  await page.getByText('1 conflict to resolve first.').waitFor();
  await page.getByRole('button', { name: 'Take over targets created by hand' }).click();
  await page.getByRole('button', { name: 'Apply to 2 targets' }).click();
  await page.getByText(/1 created, 1 updated\./).waitFor();
  // It has been done: nothing of it is said to be still to do.
  await page.getByRole('button', { name: 'created 1' }).waitFor();
  await page.getByRole('button', { name: /^updated web-2 / }).waitFor();
  // What the new one still needs; where nothing is new, nothing is said of it.
  const needs = page.getByText(/^Before anything runs on new targets, give them a credential/);
  await needs.getByRole('link', { name: 'scan and accept their host keys' }).waitFor();

  await page.getByRole('link', { name: 'Import again…' }).click();
  await page.getByRole('link', { name: /^Imported .* 1 created, 1 updated$/ }).waitFor();
  await paste('name;host;label:env\nweb-1;10.0.0.1;prod\n');
  await plan.click();
  await page.getByRole('radio', { name: /^Delete them/ }).check();
  await page.getByRole('button', { name: 'Apply to 1 target' }).click();
  await page.getByText(/1 gone, deleted\./).waitFor();
  expect(await needs.count()).toBe(0);
  await eventually(async () =>
    (await api.get<{ items: { name: string }[] }>('/api/v1/targets?search=web-')).body.items.map(
      ({ name }) => name,
    ),
  ).toEqual(['web-1']);
  expect(faults).toEqual([]);
});

test('what another person plans and applies shows on the page of the inventory, without a reload', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const { api, segmentId } = c.system;
  const path = '/api/v1/inventories';
  const fields = { name: 'shared list', format: 'csv', segmentId };
  const { id } = await api.made<{ id: number }>(path, fields);
  const planned = (name: string) => {
    const files = [{ path: 'hosts.csv', content: `name,host\n${name},10.0.0.7\n` }];
    return api.made<{ id: string }>(`${path}/${id}/plan`, { files });
  };
  const { page, faults } = await c.withSession();
  await page.clock.install();
  await page.goto(`${c.url}/targets/inventories/${id}`);
  await page.getByText('None yet.').waitFor();
  const first = await planned('db-1');
  await page.clock.fastForward(16_000);
  await page.getByRole('link', { name: /^Planned .* 1 to create/ }).click();
  await page.getByRole('button', { name: 'Apply to 1 target' }).waitFor();
  await api.made(`${path}/${id}/plans/${first.id}/apply`, { gone: 'keep' });
  await page.clock.fastForward(16_000);
  await page.getByText('1 created.').waitFor();
  expect(await page.getByRole('button', { name: 'Apply to 1 target' }).count()).toBe(0);
  expect(faults).toEqual([]);
});

test('an import whose plan got no answer goes on with the inventory that was made for it', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const { api } = c.system;
  const target = await api.get<{ items: { segmentName: string }[] }>('/api/v1/targets');
  const { page, faults } = await c.withSession();
  await page.goto(`${c.url}/targets/inventories/new`);
  await page.getByRole('button', { name: 'Paste…' }).click();
  await page.getByRole('textbox', { name: 'Text of the inventory' }).fill('name;host\nlost-1;10.0.1.1\n');
  await page.getByRole('button', { name: 'Use this text' }).click();
  await page.getByRole('textbox', { name: 'Name of the inventory' }).fill('slow office');
  const segment = target.body.items[0]?.segmentName ?? '';
  await page.getByRole('combobox', { name: 'Segment' }).selectOption({ label: segment });
  const plans = '**/api/v1/inventories/*/plan';
  await page.route(plans, async (route) => {
    await route.fetch();
    await route.fulfill({ status: 504, contentType: 'text/html', body: 'Gateway timeout' });
  });
  const plan = page.getByRole('button', { name: /^Plan the import/ });
  await plan.click();
  await page.getByRole('alert').getByText('No plan was made.').waitFor();
  await page.getByText('The inventory slow office was created; planning again continues with it.').waitFor();
  await page.unroute(plans);
  await plan.click();
  await page.getByRole('button', { name: /create 1/ }).waitFor();
  const found = await api.get<{ items: { name: string }[] }>('/api/v1/inventories');
  expect(found.body.items.filter(({ name }) => name === 'slow office')).toHaveLength(1);
  expect(faults).toEqual([]);
});

test('an import makes its inventory again if somebody has deleted it meanwhile', async ({ skip }) => {
  if (missing !== undefined) skip(missing);
  const { api } = c.system;
  const target = await api.get<{ items: { segmentName: string }[] }>('/api/v1/targets');
  const { page, faults } = await c.withSession();
  await page.goto(`${c.url}/targets/inventories/new`);
  const paste = async (text: string) => {
    await page.getByRole('button', { name: 'Paste…' }).click();
    await page.getByRole('textbox', { name: 'Text of the inventory' }).fill(text);
    await page.getByRole('button', { name: 'Use this text' }).click();
  };
  await paste('name;host\ngone-1;10.0.2.1\n');
  await page.getByRole('textbox', { name: 'Name of the inventory' }).fill('short-lived');
  const segment = target.body.items[0]?.segmentName ?? '';
  await page.getByRole('combobox', { name: 'Segment' }).selectOption({ label: segment });
  const plans = '**/api/v1/inventories/*/plan';
  const plan = page.getByRole('button', { name: /^Plan the import/ });
  const ofThisName = async () => {
    const { body } = await api.get<{ items: { id: number; name: string; format: string }[] }>(
      '/api/v1/inventories',
    );
    return body.items.filter(({ name }) => name === 'short-lived');
  };
  const unavailable = { error: { code: 'unavailable', message: 'No database.', requestId: 'r' } };
  /** Its plan fails in passing, and somebody deletes what was made for it. */
  const madeAndDeleted = async () => {
    await page.route(plans, (route) => route.fulfill({ status: 503, json: unavailable }));
    await plan.click();
    await page
      .getByText('The inventory short-lived was created; planning again continues with it.')
      .waitFor();
    await page.unroute(plans);
    const [made] = await ofThisName();
    expect((await api.send('DELETE', `/api/v1/inventories/${made?.id}`)).status).toBe(204);
  };
  await madeAndDeleted();
  // Of another format it is another inventory.
  await page.getByRole('combobox', { name: 'Format' }).selectOption('ansible_ini');
  await paste('gone-1 ansible_host=10.0.2.1\n');
  await madeAndDeleted();
  await plan.click();
  await page.getByRole('button', { name: /create 1/ }).waitFor();
  expect(await ofThisName()).toMatchObject([{ format: 'ansible_ini' }]);
  expect(faults).toEqual([]);
});
