// Target groups, imports and the choice of targets, as a person does them in the console.
import type { Agent, Target } from '@opsconductor/protocol';
import type { Locator, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { ConsoleSystem, eventually, missing } from './console-browser.ts';
import { storeCredential } from './support/sealed-credential.ts';

let c: ConsoleSystem;
beforeAll(async () => {
  if (missing === undefined) c = await ConsoleSystem.start();
}, 120_000);
afterEach(() => c?.closePages());
afterAll(() => c?.stop());

const focusedText = (page: Page) => page.evaluate<string>('document.activeElement.innerText.trim()');

test('a target gets a label, and a group that selects it has it as a member at once', async ({ skip }) => {
  if (missing !== undefined) skip(missing);
  const { page, faults } = await c.signedIn();
  await page.goto(`${c.url}/targets`);
  await page.getByRole('button', { name: /^host / }).click();
  await page.getByRole('button', { name: 'Edit…' }).click();
  const form = page.getByRole('dialog');
  await form.getByRole('combobox', { name: 'Labels' }).fill('tier=web');
  await page.keyboard.press('Enter');
  await form.getByText('tier=web', { exact: true }).waitFor();
  await page.keyboard.type('rack=r9');
  await page.keyboard.press('Enter');
  await form.getByRole('button', { name: 'Remove rack' }).press('Enter');
  await eventually(() =>
    form.getByRole('combobox', { name: 'Labels' }).evaluate((field) => field.matches(':focus')),
  ).toBe(true);
  await form.getByRole('button', { name: 'Save' }).click();
  await page.getByRole('complementary').getByText('tier=web', { exact: true }).waitFor();

  await page.goto(`${c.url}/targets/groups`);
  await page.getByRole('link', { name: 'Make the first target group' }).click();
  await page.getByRole('textbox', { name: 'Name', exact: true }).fill('Web servers');
  // What can't be read is told of at its column, and can't be saved.
  await page.getByRole('textbox', { name: 'Selector' }).fill('tier in (web');
  await page.locator('.note[data-state="failed"] mark').waitFor();
  expect(await page.getByRole('button', { name: /^Make target group/ }).isDisabled()).toBe(true);
  await page.getByRole('textbox', { name: 'Selector' }).fill('tier=web');
  await page
    .getByRole('region', { name: 'What it comes to' })
    .getByText('1 target', { exact: true })
    .waitFor();
  await page.getByRole('spinbutton', { name: 'Connect timeout, seconds' }).fill('7');
  await page.keyboard.press('Control+s');

  await page.getByRole('heading', { name: 'Web servers' }).waitFor();
  const members = page.getByRole('region', { name: 'Members' });
  await members.getByRole('link', { name: /^host .* selected$/ }).waitFor();
  // The target says where it has the setting from.
  await page.goto(`${c.url}/targets`);
  await page.getByRole('button', { name: /^host / }).click();
  await page.getByRole('complementary').getByText('from group Web servers').waitFor();
  expect(faults).toEqual([]);
});

test('what somebody else has changed meanwhile is said, what was entered stays, and saving again puts it in place', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const { api } = c.system;
  const { body } = await api.get<{ items: { id: number; name: string; segmentId: number }[] }>(
    '/api/v1/targets',
  );
  const segmentId = body.items[0]?.segmentId ?? 0;
  const put = (path: string, json: object) => api.put(`/api/v1/${path}`, json);
  const read = async (path: string) => (await api.get<Record<string, unknown>>(`/api/v1/${path}`)).body;
  const target = await api.made<{ id: number }>('/api/v1/targets', {
    segmentId,
    name: 'contested',
    host: '10.0.0.5',
  });
  const { page, faults } = await c.signedIn();
  const form = page.getByRole('dialog');
  const meanwhile = page.getByRole('alert').getByText('was changed while you edited it.');

  await page.setViewportSize({ width: 390, height: 600 });
  await page.goto(`${c.url}/targets`);
  await page.getByRole('button', { name: /^contested / }).click();
  await page.getByRole('button', { name: 'Edit…' }).click();
  await form.getByRole('textbox', { name: 'Description' }).fill('The old one');
  await form.getByRole('textbox', { name: 'Host', exact: true }).fill('10.0.0.7');
  await put(`targets/${target.id}`, { host: '10.0.0.9', operatingSystem: 'other' });
  await form.getByRole('button', { name: 'Save' }).click();
  await meanwhile.waitFor();
  await page.getByRole('alert').getByText('10.0.0.9').waitFor();
  // It stands between the title and the buttons, however far the form was scrolled.
  const [title, save] = [form.getByRole('heading'), form.getByRole('button', { name: 'Save' })];
  await eventually(async () => {
    const [above, note, below] = await Promise.all([title, meanwhile, save].map((one) => one.boundingBox()));
    return above && note && below && above.y + above.height <= note.y && note.y + note.height <= below.y;
  }).toBe(true);
  await page.setViewportSize({ width: 1440, height: 900 });
  expect(await form.getByRole('textbox', { name: 'Host', exact: true }).inputValue()).toBe('10.0.0.7');
  expect(await read(`targets/${target.id}`)).toMatchObject({ host: '10.0.0.9', description: '' });
  await form.getByRole('button', { name: 'Save' }).click();
  await form.waitFor({ state: 'hidden' });
  // What only the other one has changed stays.
  const saved = { host: '10.0.0.7', description: 'The old one', operatingSystem: 'other' };
  expect(await read(`targets/${target.id}`)).toMatchObject(saved);

  await page.goto(`${c.url}/agents`);
  await page.getByRole('button', { name: 'Settings…' }).first().click();
  await form.getByRole('spinbutton', { name: 'Connect timeout, seconds' }).fill('7');
  await put(`segments/${segmentId}/settings`, { settings: { connect_timeout: 9 } });
  await form.getByRole('button', { name: 'Save' }).click();
  await meanwhile.waitFor();
  await page.getByRole('alert').getByText('Connect timeout 9 s').waitFor();
  await form.getByRole('button', { name: 'Save' }).click();
  await form.waitFor({ state: 'hidden' });
  expect(await read(`segments/${segmentId}/settings`)).toMatchObject({ settings: { connect_timeout: 7 } });
  await put(`segments/${segmentId}/settings`, { settings: {} });

  const category = await api.made<{ id: number }>('/api/v1/categories', { name: 'shop' });
  await page.goto(`${c.url}/categories`);
  await page.getByRole('button', { name: 'Change shop' }).click();
  await page.getByRole('menuitem', { name: 'Rename or move…' }).click();
  await form.getByRole('textbox', { name: 'Description' }).fill('Mine');
  await put(`categories/${category.id}`, { description: 'What serves the shop, and its database' });
  await form.getByRole('button', { name: 'Save' }).click();
  await meanwhile.waitFor();
  await form.getByRole('button', { name: 'Save' }).click();
  await form.waitFor({ state: 'hidden' });
  expect(await read(`categories/${category.id}`)).toMatchObject({ name: 'shop', description: 'Mine' });

  const inventory = await api.made<{ id: number }>('/api/v1/inventories', { name: 'cellar', format: 'csv' });
  await page.goto(`${c.url}/targets/inventories/${inventory.id}`);
  await page.getByRole('button', { name: 'Paste…' }).click();
  await page.getByRole('textbox', { name: 'Text of the inventory' }).fill('name,host,segment\n');
  await page.getByRole('button', { name: 'Take this text' }).click();
  await page.getByRole('textbox', { name: 'Name of the inventory' }).fill('attic');
  await put(`inventories/${inventory.id}`, { name: 'basement', segmentId });
  await page.getByRole('button', { name: /^Plan the import/ }).click();
  await meanwhile.waitFor();
  await page.getByRole('button', { name: /^Plan the import/ }).click();
  await eventually(() => read(`inventories/${inventory.id}`)).toMatchObject({ name: 'attic', segmentId });
  const made = [`inventories/${inventory.id}`, `categories/${category.id}`, `targets/${target.id}`];
  for (const path of made) await api.send('DELETE', `/api/v1/${path}`);
  expect(faults).toEqual([]);
});

test('a run is started by a selector, and what it was started on is offered again', async ({ skip }) => {
  if (missing !== undefined) skip(missing);
  const job = await c.system.api.made<{ id: number }>('/api/v1/jobs', {
    name: 'Say hello',
    steps: [{ name: 'hello', type: 'ssh.exec', config: { command: 'echo hello' } }],
  });
  const { page, faults } = await c.signedIn();
  await page.goto(`${c.url}/jobs/${job.id}`);
  await page.getByRole('heading', { name: 'Say hello' }).waitFor();
  await page.keyboard.press('r');
  const dialog = page.getByRole('dialog');
  await dialog.getByRole('button', { name: 'Selector' }).click();
  await dialog.getByRole('textbox', { name: 'Selector' }).fill('name:host* !nosuch');
  await dialog.getByText('No target has the label nosuch.').waitFor();
  await dialog.getByText('What is sent').click();
  expect(JSON.parse((await dialog.locator('pre').textContent()) ?? '')).toEqual({
    selector: 'name:host* !nosuch',
  });
  await dialog.getByRole('button', { name: 'Run on 1 target' }).click();
  await page.locator('.title').getByText('succeeded').waitFor();

  await page.goto(`${c.url}/jobs/${job.id}`);
  await page.getByRole('heading', { name: 'Say hello' }).waitFor();
  await page.keyboard.press('r');
  await dialog.getByText(/^Last, in run \d+: name:host\* !nosuch$/).waitFor();
  await dialog.getByRole('button', { name: 'Choose again' }).click();
  await dialog.getByRole('button', { name: 'Run on 1 target' }).waitFor();
  expect(faults).toEqual([]);
});

test('what is typed for a start stays, with the focus, while what the job ran on last can’t be read', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const { api, targetId } = c.system;
  const job = await api.made<{ id: number }>('/api/v1/jobs', {
    name: 'Say hello again',
    steps: [{ name: 'hello', type: 'ssh.exec', config: { command: 'echo hello' } }],
  });
  const { id: runId } = await api.made<{ id: number }>(`/api/v1/jobs/${job.id}/run`, {
    targetIds: [targetId],
  });
  await api.runEnds(runId);
  const { page, faults } = await c.signedIn();
  await page.goto(`${c.url}/jobs/${job.id}`);
  await page.getByRole('heading', { name: 'Say hello again' }).waitFor();
  await page.getByText('succeeded').first().waitFor();
  const unavailable = { error: { code: 'unavailable', message: 'Not now.', requestId: 'r' } };
  let release = () => {};
  const typed = new Promise<void>((resolve) => {
    release = resolve;
  });
  let asked = 0;
  await page.route(
    // Not the list of runs on the page below.
    `**/api/v1/runs?jobId=${job.id}&limit=1`,
    async (route) => {
      asked += 1;
      if (asked > 1) await typed;
      await route.fulfill({ status: 503, json: unavailable });
    },
    { times: 2 },
  );
  await page.keyboard.press('r');
  const dialog = page.getByRole('dialog');
  await eventually(() => asked).toBe(2);
  const bySelector = dialog.getByRole('button', { name: 'Selector' });
  expect(await bySelector.isVisible()).toBe(true);
  await bySelector.click();
  const selector = dialog.getByRole('textbox', { name: 'Selector' });
  await selector.fill('name:host');
  release();
  await dialog.getByText(`Last, in run ${runId}: target host`).waitFor();
  expect(await selector.inputValue()).toBe('name:host');
  expect(await selector.evaluate((field) => field.matches(':focus'))).toBe(true);
  expect(faults).toEqual([]);
});

test('a pasted list is imported; what has changed since it was planned is shown, and planned again', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const { api } = c.system;
  const target = await api.get<{ items: { segmentId: number; segmentName: string }[] }>('/api/v1/targets');
  const segment = target.body.items[0];
  if (segment === undefined) throw new Error('The system has no target.');
  const { page, faults } = await c.signedIn();
  await page.goto(`${c.url}/targets/inventories`);
  await page.getByRole('link', { name: 'Import the first inventory' }).click();
  const paste = async (text: string) => {
    await page.getByRole('button', { name: 'Paste…' }).click();
    await page.getByRole('textbox', { name: 'Text of the inventory' }).fill(text);
    await page.getByRole('button', { name: 'Take this text' }).click();
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
  await page.getByText('1 conflict to settle first.').waitFor();
  await page.getByRole('button', { name: 'Take over targets made by hand' }).click();
  await page.getByRole('button', { name: 'Apply to 2 targets' }).click();
  await page.getByText(/1 created, 1 updated\./).waitFor();

  await page.getByRole('link', { name: 'Import again…' }).click();
  await page.getByRole('link', { name: /^Imported .* 1 created, 1 updated$/ }).waitFor();
  await paste('name;host;label:env\nweb-1;10.0.0.1;prod\n');
  await plan.click();
  await page.getByRole('radio', { name: /^Delete them/ }).check();
  await page.getByRole('button', { name: 'Apply to 1 target' }).click();
  await page.getByText(/1 gone, deleted\./).waitFor();
  await eventually(async () =>
    (await api.get<{ items: { name: string }[] }>('/api/v1/targets?search=web-')).body.items.map(
      ({ name }) => name,
    ),
  ).toEqual(['web-1']);
  expect(faults).toEqual([]);
});

test('an import whose plan got no answer goes on with the inventory that was made for it', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const { api } = c.system;
  const target = await api.get<{ items: { segmentName: string }[] }>('/api/v1/targets');
  const { page, faults } = await c.signedIn();
  await page.goto(`${c.url}/targets/inventories/new`);
  await page.getByRole('button', { name: 'Paste…' }).click();
  await page.getByRole('textbox', { name: 'Text of the inventory' }).fill('name;host\nlost-1;10.0.1.1\n');
  await page.getByRole('button', { name: 'Take this text' }).click();
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
  await page.getByText('The inventory slow office is made; planning again goes on with it.').waitFor();
  await page.unroute(plans);
  await plan.click();
  await page.getByRole('button', { name: /create 1/ }).waitFor();
  const found = await api.get<{ items: { name: string }[] }>('/api/v1/inventories');
  expect(found.body.items.filter(({ name }) => name === 'slow office')).toHaveLength(1);
  expect(faults).toEqual([]);
});

test('an import whose inventory somebody has deleted meanwhile makes it anew', async ({ skip }) => {
  if (missing !== undefined) skip(missing);
  const { api } = c.system;
  const target = await api.get<{ items: { segmentName: string }[] }>('/api/v1/targets');
  const { page, faults } = await c.signedIn();
  await page.goto(`${c.url}/targets/inventories/new`);
  const paste = async (text: string) => {
    await page.getByRole('button', { name: 'Paste…' }).click();
    await page.getByRole('textbox', { name: 'Text of the inventory' }).fill(text);
    await page.getByRole('button', { name: 'Take this text' }).click();
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
    await page.getByText('The inventory short-lived is made; planning again goes on with it.').waitFor();
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

test('a list that could not be read shows no rows of another filter, and is read by itself', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const { page, faults } = await c.signedIn();
  await page.goto(`${c.url}/targets`);
  const rows = page.getByRole('list', { name: 'Targets, by name' });
  await rows.getByRole('listitem').first().waitFor();
  const targets = /\/api\/v1\/targets\?/;
  const unavailable = { error: { code: 'unavailable', message: 'No database.', requestId: 'r' } };
  await page.route(targets, (route) => route.fulfill({ status: 503, json: unavailable }));
  await page.getByRole('searchbox').first().fill('host');
  await page.getByText('The targets could not be read.').waitFor();
  expect(await rows.count()).toBe(0);
  await page.unroute(targets);
  await rows.getByRole('listitem').first().waitFor();
  expect(await page.getByText('The targets could not be read.').count()).toBe(0);

  // What is read once is read again too: without the segments nobody could add a target.
  const segments = /\/api\/v1\/segments\b/;
  await page.route(segments, (route) => route.fulfill({ status: 503, json: unavailable }));
  await page.reload();
  await page.getByText('The segments could not be read, so that no target can be added.').waitFor();
  await page.unroute(segments);
  await page.getByRole('button', { name: /^Add target/ }).waitFor();
  expect(faults).toEqual([]);
});

test('many targets are changed at once, after it was said how many', async ({ skip }) => {
  if (missing !== undefined) skip(missing);
  const { page, faults } = await c.signedIn();
  await page.goto(`${c.url}/targets`);
  await page.getByRole('checkbox', { name: 'Choose host', exact: true }).check();
  await page.getByRole('button', { name: 'Change…' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByRole('combobox', { name: 'Set' }).fill('rack=r1');
  await page.keyboard.press('Enter');
  await dialog.getByText('1 of 1 change:').waitFor();
  await dialog.getByRole('button', { name: 'Change 1 target' }).click();
  await page.locator('main').getByText('rack=r1').waitFor();
  expect(faults).toEqual([]);
});

test('a target is scanned from the list, its new key accepted in one step, and it is reachable', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const { api, sshd, segmentId } = c.system;
  await api.made('/api/v1/targets', { segmentId, name: 'unseen', host: sshd.host, port: sshd.port });
  const { page, faults } = await c.signedIn();
  await page.goto(`${c.url}/targets`);
  await page.getByRole('checkbox', { name: 'Choose unseen', exact: true }).check();
  await page.getByRole('button', { name: 'Scan…' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByRole('button', { name: 'Scan 1 target' }).click();
  await page.getByText('done, 1 target').waitFor();
  await page.getByRole('button', { name: 'Accept the keys of all 1 new target…' }).click();
  await dialog.getByText('unseen', { exact: true }).waitFor();
  await dialog.getByRole('button', { name: 'Accept 1 key' }).click();
  await page.getByText('1 key of 1 target.').waitFor();
  await page.getByRole('button', { name: /^same 1$/ }).waitFor();

  await page.goto(`${c.url}/targets`);
  await page.getByRole('button', { name: /^unseen / }).click();
  const panel = page.getByRole('complementary');
  await panel.getByText('accepted', { exact: true }).waitFor();
  await panel.getByRole('button', { name: 'Look now' }).click();
  await panel.getByText(/^answers, \d+ ms$/).waitFor();
  // Back to where it was opened, not to the top of the page.
  await panel.getByRole('button', { name: 'Close' }).click();
  await eventually(() => focusedText(page)).toMatch(/^unseen/);
  expect(faults).toEqual([]);
});

test('a known_hosts file is planned by line before it is imported, and an authority is trusted and removed', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const { api, sshd, segmentId } = c.system;
  await api.made('/api/v1/targets', { segmentId, name: 'listed', host: 'listed.example', port: 22 });
  const key = sshd.hostKeyLine.split(' ').slice(0, 2).join(' ');
  const { page, faults } = await c.signedIn();
  await page.goto(`${c.url}/targets/known-hosts?segmentId=${segmentId}`);
  await page
    .getByRole('textbox', { name: 'Text' })
    .fill(`listed.example ${key}\nnobody.example ${key}\nlisted.example ssh-dss AAAA\n`);
  await page.getByRole('button', { name: 'Plan the import' }).click();
  await page.getByRole('button', { name: /^unusable 1$/ }).waitFor();
  await page.getByRole('button', { name: /^no target 1$/ }).waitFor();
  await page.getByRole('button', { name: 'Import: accept 1 key of 1 target' }).click();
  await page.getByText('Imported').waitFor();

  await page.goto(`${c.url}/targets/host-trust`);
  await page.getByRole('button', { name: 'Trust an authority…' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByRole('textbox', { name: 'Public key' }).fill(`* ${key}`);
  await dialog.getByText(/Leave out what stands before the key type/).waitFor();
  await dialog.getByRole('textbox', { name: 'Public key' }).fill(key);
  await dialog.getByRole('button', { name: 'Trust it' }).click();
  const authorities = page.getByRole('region', { name: 'Host authorities' });
  await authorities.getByRole('button', { name: 'Remove…' }).click();
  // Somebody else is faster: it is told of, and the list has it no more.
  const path = `/api/v1/segments/${segmentId}/host-trust`;
  const { items } = (await api.get<{ items: { id: number }[] }>(path)).body;
  await api.send('DELETE', `${path}/${items[0]?.id}`);
  await dialog.getByRole('button', { name: 'Remove the authority' }).click();
  await dialog.getByText(/has no such host authority or revoked key any more/).waitFor();
  await authorities.getByText(/^None\./).waitFor();
  expect(faults).toEqual([]);
});

/** A target of which another key is accepted than its server has, and what it showed to a test of the connection. */
async function changedTarget(name: string): Promise<{ id: number }> {
  const { api, sshd, segmentId } = c.system;
  const hostKeyFingerprint = `SHA256:${'A'.repeat(43)}`;
  const target = { segmentId, name, host: sshd.host, port: sshd.port, hostKeyFingerprint };
  const made = await api.made<{ id: number }>('/api/v1/targets', target);
  const [{ credentialId } = { credentialId: null }] = await c.system.sql<{ credentialId: string | null }[]>`
    select credential_id from targets where id = ${c.system.targetId}`;
  await api.put(`/api/v1/targets/${made.id}`, { name, host: sshd.host, credentialId });
  const tested = await api.made<{ reason: string | null }>(`/api/v1/targets/${made.id}/test`);
  expect(tested.reason).toBe('host_key_mismatch');
  return made;
}

test('a host key to compare is in sight whole, at any width', async ({ skip }) => {
  if (missing !== undefined) skip(missing);
  const { id } = await changedTarget('unbroken');
  await c.system.sql`delete from target_host_keys where target_id = ${id}`;
  const { page, faults } = await c.signedIn();
  await page.goto(`${c.url}/targets`);
  await page.getByRole('button', { name: /^unbroken / }).click();
  const panel = page.getByRole('complementary');
  await panel.getByRole('button', { name: 'Test connection' }).click();
  await panel.getByRole('button', { name: 'Accept this key…' }).waitFor();
  await panel.getByText(/ssh-ed25519 AAAA/).waitFor();
  for (const width of [1440, 390]) {
    await page.setViewportSize({ width, height: 900 });
    const [content, sight] = await panel.evaluate((aside) => [aside.scrollWidth, aside.clientWidth]);
    expect(content).toBeLessThanOrEqual(sight as number);
  }
  expect(faults).toEqual([]);
});

test('a changed host key is shown beside the known one where agents are, replaced, and the host is logged in to', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  await changedTarget('reinstalled');
  const { page, faults } = await c.signedIn();
  await page.goto(`${c.url}/agents`);
  const waiting = page.getByRole('region', { name: 'Host keys', exact: true });
  await waiting.getByText('key changed, refused').waitFor();
  await waiting.getByText('reinstalled', { exact: true }).waitFor();
  await waiting.getByRole('button', { name: 'Replace key…' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByText('The known key is removed.').waitFor();
  await dialog.getByRole('button', { name: 'It is the same: replace' }).click();
  await waiting.getByText('reinstalled', { exact: true }).waitFor({ state: 'detached' });

  await page.goto(`${c.url}/targets?hostKey=accepted`);
  await page.getByRole('button', { name: /^reinstalled / }).click();
  const panel = page.getByRole('complementary');
  await panel.getByRole('button', { name: 'Test connection' }).click();
  await panel.getByText(/^Connected/).waitFor();
  await page.getByRole('combobox', { name: 'Host key' }).selectOption('changed');
  await page.getByText('No target fits').waitFor();
  expect(faults).toEqual([]);
});

test('only those new host keys are accepted that somebody ticked, whatever comes until the click', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const { api, sshd, segmentId } = c.system;
  const { credentialId } = (await api.get<Target>(`/api/v1/targets/${c.system.targetId}`)).body;
  const pending = async (name: string) => {
    const { id } = await api.made<{ id: number }>('/api/v1/targets', {
      segmentId,
      name,
      host: sshd.host,
      port: sshd.port,
      credentialId,
    });
    const tested = await api.made<{ reason: string | null }>(`/api/v1/targets/${id}/test`);
    expect(tested.reason).toBe('host_key_unknown');
    return id;
  };
  const [first, second] = [await pending('installed-1'), await pending('installed-3')];
  const { page, faults } = await c.signedIn();
  await page.goto(`${c.url}/agents`);
  const waiting = page.getByRole('region', { name: 'Host keys', exact: true });
  const box = (name: string) => waiting.getByRole('checkbox', { name: new RegExp(`^${name} `) });
  for (const name of ['installed-1', 'installed-3']) {
    expect(await box(name).isChecked()).toBe(false);
    await box(name).check();
  }
  const late = await pending('installed-2');
  await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))");
  await box('installed-2').waitFor();
  // No row has moved under the pointer.
  const names = await waiting
    .locator('ul')
    .getByText(/^installed-/)
    .allTextContents();
  expect(names.slice(-1)).toEqual(['installed-2']);
  await waiting.getByRole('button', { name: 'Accept 2 keys…' }).click();
  const dialog = page.getByRole('dialog', { name: 'Accept 2 keys of 2 targets?' });
  await dialog.getByText('installed-1, installed-3', { exact: true }).waitFor();
  await dialog.getByRole('button', { name: 'Accept 2 keys' }).click();
  await box('installed-1').waitFor({ state: 'detached' });
  await eventually(() => focusedText(page)).toMatch(/^Host keys$/);
  expect(await box('installed-2').isChecked()).toBe(false);
  const states = await c.system.sql`
    select target_id as id, state from target_host_keys where target_id = any(${[first, second, late]}) order by target_id`;
  expect(states).toEqual([
    { id: first, state: 'accepted' },
    { id: second, state: 'accepted' },
    { id: late, state: 'pending' },
  ]);
  expect(faults).toEqual([]);
});

test('what uses a credential is told beside it, and a day that it expires on is noted and reminded of', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const { page, faults } = await c.signedIn();
  await page.goto(`${c.url}/credentials`);
  await page.getByRole('button', { name: /what uses key$/ }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByRole('heading', { name: /^Targets that it is chosen for \d/ }).waitFor();
  await dialog.getByRole('link', { name: 'host', exact: true }).waitFor();
  await page.keyboard.press('Escape');
  await page.getByRole('button', { name: 'Edit key' }).click();
  await dialog.getByLabel('Expires on').fill('2020-01-31');
  await dialog.getByRole('button', { name: 'Save' }).click();
  await page.getByText(/^expired .* days ago$/).waitFor();
  // Those of a revocation are linked to.
  await page.goto(`${c.url}/credentials?toRotate=true`);
  await page.getByText('No credential is to be rotated here').waitFor();
  await page.getByRole('link', { name: 'Show all credentials' }).click();
  await page.getByRole('button', { name: 'Edit key' }).waitFor();
  expect(faults).toEqual([]);
});

test('before a credential is deleted it is said who gives it, and which jobs fail without it', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const { api, segmentId, sql } = c.system;
  const bounds = { hosts: ['*'], networks: [], ports: [22], protocols: ['ssh' as const], user: 'deploy' };
  const id = await storeCredential(api, segmentId, 'widely used', {
    kind: 'ssh_password',
    user: 'deploy',
    password: 'correct horse',
    bounds: { ...bounds, authentication: ['password'] },
  });
  await api.made('/api/v1/jobs', {
    name: 'Asks for it',
    steps: [
      {
        name: 'ask',
        type: 'ssh.exec',
        config: { command: 'true' },
        connection: { credential: 'widely used' },
      },
    ],
  });
  await sql`update segments set credential_id = ${id} where id = ${segmentId}`;
  const { page, faults } = await c.signedIn();
  await page.goto(`${c.url}/credentials`);
  await page.getByRole('button', { name: 'what uses it: widely used' }).waitFor();
  const ask = page.getByRole('table').getByRole('button', { name: 'Delete widely used' });
  const dialog = page.getByRole('dialog');
  const remove = dialog.getByRole('button', { name: 'Delete widely used' });
  await ask.click();
  await dialog.getByText('Used by segment dmz.').waitFor();
  await dialog.getByRole('link', { name: 'Asks for it' }).waitFor();
  expect(await remove.isDisabled()).toBe(true);
  await dialog.getByRole('button', { name: 'Keep it' }).click();

  await sql`update segments set credential_id = null where id = ${segmentId}`;
  await ask.click();
  await dialog.getByText('1 job asks for a credential of this name.').waitFor();
  await dialog.getByRole('link', { name: 'Asks for it' }).waitFor();
  await remove.click();
  await ask.waitFor({ state: 'detached' });
  expect(faults).toEqual([]);
});

test('a form for credentials that can not be loaded says so, and what to do', async ({ skip }) => {
  if (missing !== undefined) skip(missing);
  const { page, faults } = await c.signedIn();
  await page.goto(`${c.url}/credentials`);
  // As after an upgrade: what the page was made of is not there any more.
  await page.route('**/assets/CredentialForm*', (route) => route.fulfill({ status: 404 }));
  const add = page.getByRole('button', { name: 'Add credential…' });
  await add.click();
  const dialog = page.getByRole('dialog');
  await dialog.getByText('The form could not be loaded.').waitFor();
  await page.unrouteAll();
  await dialog.getByRole('button', { name: 'Reload the page' }).click();
  await add.click();
  await dialog.getByRole('textbox', { name: 'User', exact: true }).waitFor();
  expect(faults).toEqual([]);
});

test('a file picker that is closed without a choice leaves the form as it is, and Escape closes it', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const { page, faults } = await c.signedIn();
  await page.goto(`${c.url}/credentials`);
  await page.getByRole('button', { name: 'Add credential…' }).click();
  const form = page.getByRole('dialog', { name: 'Add a credential' });
  const user = form.getByRole('textbox', { name: 'User', exact: true });
  await user.fill('deploy');
  // What browsers say of such a picker.
  await form.locator('input[type="file"]').dispatchEvent('cancel', { bubbles: true });
  await form.getByRole('combobox', { name: 'Kind' }).selectOption('ssh_password');
  expect(await user.inputValue()).toBe('deploy');
  await page.keyboard.press('Escape');
  await form.waitFor({ state: 'detached' });
  expect(faults).toEqual([]);
});

test('a key or keytab that is too large is said to be, and the one before it is not kept in its place', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const { page, faults } = await c.signedIn();
  await page.goto(`${c.url}/credentials`);
  await page.getByRole('button', { name: 'Add credential…' }).click();
  const form = page.getByRole('dialog', { name: 'Add a credential' });
  const choose = (name: string, bytes: number) =>
    form.locator('input[type="file"]').setInputFiles({
      name,
      mimeType: 'application/octet-stream',
      buffer: Buffer.alloc(bytes, 'k'),
    });
  const key = form.getByRole('textbox', { name: 'Private key', exact: true });
  await choose('id_ed25519', 12);
  await eventually(() => key.inputValue()).toBe('k'.repeat(12));
  await choose('backup.tar', 32_769);
  await form.getByText('backup.tar has 32,769 bytes; 32,768 are allowed').waitFor();
  expect(await key.inputValue()).toBe('');

  await form.getByRole('combobox', { name: 'Kind' }).selectOption('winrm_keytab');
  await choose('deploy.keytab', 900);
  await form.getByText('900 bytes chosen').waitFor();
  await choose('other.keytab', 24_001);
  await form.getByText('other.keytab has 24,001 bytes; 24,000 are allowed').waitFor();
  await choose('deploy.keytab', 901);
  await form.getByText('901 bytes chosen').waitFor();
  await choose('other.keytab', 24_001);
  await form.getByRole('button', { name: 'Seal and save' }).click();
  await form.getByText('other.keytab has 24,001 bytes; 24,000 are allowed').waitFor();
  expect(faults).toEqual([]);
});

test('who may not approve host keys sees that one changed, is offered nothing to replace it, and is refused', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const { api, segmentId } = c.system;
  const { id } = await changedTarget('suspicious');
  const user = await api.made<{ id: number }>('/api/v1/users', { name: 'otto' });
  const scope = { kind: 'segment', id: segmentId };
  await api.made('/api/v1/grants', { userId: user.id, role: 'operator', scope });
  const { page, faults } = await c.signedInAs('otto');
  await page.goto(`${c.url}/agents`);
  const waiting = page.getByRole('region', { name: 'Host keys', exact: true });
  await waiting.getByText('suspicious', { exact: true }).waitFor();
  expect(await waiting.getByRole('button', { name: 'Replace key…' }).count()).toBe(0);
  await page.goto(`${c.url}/targets?hostKey=changed`);
  await page.getByRole('button', { name: /^suspicious / }).click();
  const panel = page.getByRole('complementary');
  await panel.getByRole('heading', { name: 'Host keys' }).waitFor();
  expect(await panel.getByRole('button', { name: /^(Compare|Accept)/ }).count()).toBe(0);
  expect(faults).toEqual([]);
  // What the page leaves out the server refuses.
  const keys = await c.system.sql<{ fingerprint: string }[]>`
    select fingerprint from target_host_keys where target_id = ${id} and state = 'changed'`;
  const reply = await page.evaluate(
    async ([path, body]) => {
      const headers = { 'Content-Type': 'application/json' };
      const answer = await fetch(path, { method: 'POST', headers, body });
      return { status: answer.status, text: await answer.text() };
    },
    [
      `/api/v1/targets/${id}/host-keys`,
      JSON.stringify({ ...keys[0], replaces: `SHA256:${'A'.repeat(43)}` }),
    ] as const,
  );
  expect(reply).toMatchObject({ status: 403, text: expect.stringContaining('host_keys.approve') });
});

test('the longest names leave room for the answers of a dialog, and on a small screen for what they name', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const { api } = c.system;
  const name = (of: string) => `${of}-${'of-the-production-line-'.repeat(3)}`.slice(0, 62).replace(/-$/, '');
  const segment = await api.made<{ id: number }>('/api/v1/segments', { name: name('segment') });
  const agent = await c.system.enrollAgent(name('agent'), segment.id);
  await agent.start();
  const agents = async () => (await api.get<{ items: Agent[] }>('/api/v1/agents')).body.items;
  await eventually(async () => (await agents()).find((one) => one.name === agent.name)?.hasSegmentKey).toBe(
    true,
  );
  const agentId = (await agents()).find((one) => one.name === agent.name)?.id;
  const bounds = { hosts: ['*'], networks: [], ports: [22], protocols: ['ssh' as const], user: 'deploy' };
  await storeCredential(api, segment.id, 'short', {
    kind: 'ssh_password',
    user: 'deploy',
    password: 'correct horse',
    bounds: { ...bounds, authentication: ['password'] },
  });
  const { page, faults } = await c.signedIn();
  const sides = async (locator: Locator) => {
    const box = await locator.boundingBox();
    if (box === null) throw new Error('it has no box');
    return { left: box.x, right: box.x + box.width, width: box.width };
  };
  for (const width of [1440, 390]) {
    await page.setViewportSize({ width, height: 900 });
    await page.goto(`${c.url}/agents/${agentId}`);
    await page.getByRole('button', { name: 'Revoke…' }).click();
    const dialog = page.getByRole('dialog');
    const around = await sides(dialog);
    for (const answer of ['Leave it', `Revoke ${agent.name}`]) {
      const button = await sides(dialog.getByRole('button', { name: answer }));
      expect(button.left).toBeGreaterThan(around.left);
      expect(button.right).toBeLessThan(around.right);
    }
    await page.keyboard.press('Escape');
    expect((await sides(page.getByRole('region', { name: 'Keys' }))).right).toBeLessThanOrEqual(width);
  }
  await page.goto(`${c.url}/credentials`);
  const row = page.getByRole('row').filter({ hasText: 'short' });
  expect((await sides(row.locator('td').first())).width).toBeGreaterThan(200);
  await row.getByTitle(name('segment')).waitFor();
  expect(faults).toEqual([]);
});
