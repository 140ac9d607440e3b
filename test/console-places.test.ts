// Targets, target groups and the choice of targets, as a person does them in the console.
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { ConsoleSystem, eventually, missing } from './console-browser.ts';

let c: ConsoleSystem;
beforeAll(async () => {
  if (missing === undefined) c = await ConsoleSystem.start();
}, 120_000);
afterEach(() => c?.closePages());
afterAll(() => c?.stop());

test('a target gets a label, and a group that selects it has it as a member at once', async ({ skip }) => {
  if (missing !== undefined) skip(missing);
  const { page, faults } = await c.withSession();
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
  await page.getByRole('link', { name: 'Create the first target group' }).click();
  await page.getByRole('textbox', { name: 'Name', exact: true }).fill('Web servers');
  // What can't be read is told of at its column, and can't be saved.
  await page.getByRole('textbox', { name: 'Selector' }).fill('tier in (web');
  await page.locator('.note[data-state="failed"] mark').waitFor();
  expect(await page.getByRole('button', { name: /^Create target group/ }).isDisabled()).toBe(true);
  await page.getByRole('textbox', { name: 'Selector' }).fill('tier=web');
  await page
    .getByRole('region', { name: 'What it comes to' })
    .getByText('1 target', { exact: true })
    .waitFor();
  await page.getByRole('spinbutton', { name: 'Connect timeout (seconds)' }).fill('7');
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
  const { page, faults } = await c.withSession();
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
  await form.getByRole('spinbutton', { name: 'Connect timeout (seconds)' }).fill('7');
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

  const group = await api.made<{ id: number }>('/api/v1/target-groups', { name: 'shelf' });
  await page.goto(`${c.url}/targets/groups/${group.id}/edit`);
  await page.getByRole('textbox', { name: 'Description' }).fill('Mine');
  await put(`target-groups/${group.id}`, { targetIds: [target.id], description: 'Theirs' });
  await page.getByRole('button', { name: /^Save/ }).click();
  await meanwhile.waitFor();
  await page.getByRole('alert').getByText('Theirs').waitFor();
  await page.getByRole('button', { name: /^Save/ }).click();
  await page.getByRole('heading', { name: 'shelf' }).waitFor();
  // The target that the other one has added stays.
  await eventually(() => read(`target-groups/${group.id}`)).toMatchObject({
    description: 'Mine',
    listedCount: 1,
  });

  const team = await api.made<{ id: number }>('/api/v1/user-groups', { name: 'On call' });
  const user = await api.made<{ id: number }>('/api/v1/users', { name: 'una', userGroupIds: [team.id] });
  await page.goto(`${c.url}/people/users/${user.id}`);
  await page.getByRole('button', { name: 'Edit…' }).click();
  await form.getByRole('textbox', { name: 'Description' }).fill('Mine');
  await put(`users/${user.id}`, { userGroupIds: [] });
  await form.getByRole('button', { name: 'Save' }).click();
  await form.waitFor({ state: 'hidden' });
  // The group that the other one has taken away stays away.
  expect(await read(`users/${user.id}`)).toMatchObject({ description: 'Mine', userGroups: [] });

  await page.goto(`${c.url}/people/groups/${team.id}`);
  await page.getByRole('button', { name: 'Edit…' }).click();
  await form.getByRole('textbox', { name: 'Name' }).fill('On call at night');
  await put(`user-groups/${team.id}`, { description: 'Theirs' });
  await form.getByRole('button', { name: 'Save' }).click();
  await form.waitFor({ state: 'hidden' });
  expect(await read(`user-groups/${team.id}`)).toMatchObject({
    name: 'On call at night',
    description: 'Theirs',
  });

  const { body: agents } = await api.get<{ items: { id: number; name: string }[] }>('/api/v1/agents');
  const agent = agents.items[0] ?? { id: 0, name: '' };
  await page.goto(`${c.url}/agents/${agent.id}`);
  await page.getByRole('button', { name: 'Labels…' }).click();
  await form.getByRole('textbox', { name: 'Labels' }).fill('rack=7');
  await put(`agents/${agent.id}/labels`, { labels: { hall: 'b' } });
  await form.getByRole('button', { name: 'Save labels' }).click();
  await meanwhile.waitFor();
  await page.getByRole('alert').getByText('hall=b').waitFor();
  await form.getByRole('textbox', { name: 'Labels' }).fill('rack=7\nhall=b');
  await form.getByRole('button', { name: 'Save labels' }).click();
  await form.waitFor({ state: 'hidden' });
  expect(await read(`agents/${agent.id}`)).toMatchObject({ labels: { rack: '7', hall: 'b' } });
  await put(`agents/${agent.id}/labels`, { labels: {} });

  const ruleFields = { name: 'limits', condition: 'has(job.timeout)', message: 'Set a timeout.' };
  const rule = await api.made<{ id: number }>('/api/v1/site-rules', { ...ruleFields, isEnabled: false });
  await page.goto(`${c.url}/jobs/rules/${rule.id}`);
  await page.getByLabel('Message if it is broken').fill('Mine');
  await put(`site-rules/${rule.id}`, {
    ...ruleFields,
    ...{ description: 'Theirs', isEnabled: false, expectedVersion: 1 },
  });
  await page.keyboard.press('Control+s');
  await page.getByText('Saved.', { exact: true }).waitFor();
  // Whoever types on does so where they were, and sees what the other one has changed.
  expect(await page.evaluate('document.activeElement.value')).toBe('Mine');
  expect(await page.getByLabel('Description').inputValue()).toBe('Theirs');
  expect(await read(`site-rules/${rule.id}`)).toMatchObject({ message: 'Mine', description: 'Theirs' });
  await page.getByLabel('Message if it is broken').fill('Mine again');
  await put(`site-rules/${rule.id}`, {
    ...ruleFields,
    ...{ message: 'Their message', isEnabled: false, expectedVersion: 3 },
  });
  await page.keyboard.press('Control+s');
  await meanwhile.waitFor();
  await page.getByRole('alert').getByText('Their message').waitFor();
  expect(await page.getByLabel('Message if it is broken').inputValue()).toBe('Mine again');
  await page.keyboard.press('Control+s');
  await page.getByText('version 5').waitFor();
  expect(await read(`site-rules/${rule.id}`)).toMatchObject({ message: 'Mine again', version: 5 });

  const inventory = await api.made<{ id: number }>('/api/v1/inventories', { name: 'cellar', format: 'csv' });
  await page.goto(`${c.url}/targets/inventories/${inventory.id}`);
  await page.getByRole('button', { name: 'Paste…' }).click();
  await page.getByRole('textbox', { name: 'Text of the inventory' }).fill('name,host,segment\n');
  await page.getByRole('button', { name: 'Use this text' }).click();
  await page.getByRole('textbox', { name: 'Name of the inventory' }).fill('attic');
  await put(`inventories/${inventory.id}`, { name: 'basement', segmentId });
  await page.getByRole('button', { name: /^Plan the import/ }).click();
  await meanwhile.waitFor();
  await page.getByRole('button', { name: /^Plan the import/ }).click();
  await eventually(() => read(`inventories/${inventory.id}`)).toMatchObject({ name: 'attic', segmentId });
  const made = [
    ...[
      `inventories/${inventory.id}`,
      `categories/${category.id}`,
      `users/${user.id}`,
      `user-groups/${team.id}`,
      `site-rules/${rule.id}`,
    ],
    ...[`target-groups/${group.id}`, `targets/${target.id}`],
  ];
  for (const path of made) await api.send('DELETE', `/api/v1/${path}`);
  expect(faults).toEqual([]);
});

test('a run is started by a selector, and what it was started on is offered again', async ({ skip }) => {
  if (missing !== undefined) skip(missing);
  const job = await c.system.api.made<{ id: number }>('/api/v1/jobs', {
    name: 'Say hello',
    steps: [{ name: 'hello', type: 'ssh.exec', config: { command: 'echo hello' } }],
  });
  const { page, faults } = await c.withSession();
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
  await dialog.getByText(/^Last time, in run \d+: name:host\* !nosuch$/).waitFor();
  await dialog.getByRole('button', { name: 'Use again' }).click();
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
  const { page, faults } = await c.withSession();
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
  await dialog.getByText(`Last time, in run ${runId}: target host`).waitFor();
  expect(await selector.inputValue()).toBe('name:host');
  expect(await selector.evaluate((field) => field.matches(':focus'))).toBe(true);
  expect(faults).toEqual([]);
});

test('a list that could not be read shows no rows of another filter, and is read by itself', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const { page, faults } = await c.withSession();
  await page.goto(`${c.url}/targets`);
  const rows = page.getByRole('list', { name: 'Targets, by name' });
  await rows.getByRole('listitem').first().waitFor();
  const targets = /\/api\/v1\/targets\?/;
  const unavailable = { error: { code: 'unavailable', message: 'No database.', requestId: 'r' } };
  await page.route(targets, (route) => route.fulfill({ status: 503, json: unavailable }));
  await page.getByRole('searchbox').first().fill('host');
  await page.getByText('The targets could not be loaded.').waitFor();
  expect(await rows.count()).toBe(0);
  await page.unroute(targets);
  await rows.getByRole('listitem').first().waitFor();
  expect(await page.getByText('The targets could not be loaded.').count()).toBe(0);

  // What is read once is read again too: without the segments nobody could add a target.
  const segments = /\/api\/v1\/segments\b/;
  await page.route(segments, (route) => route.fulfill({ status: 503, json: unavailable }));
  await page.reload();
  await page.getByText('The segments could not be loaded, so no target can be added.').waitFor();
  await page.unroute(segments);
  await page.getByRole('button', { name: /^Add target/ }).waitFor();
  expect(faults).toEqual([]);
});

test('many targets are changed at once, after it was said how many', async ({ skip }) => {
  if (missing !== undefined) skip(missing);
  const { page, faults } = await c.withSession();
  await page.goto(`${c.url}/targets`);
  await page.getByRole('checkbox', { name: 'Select host', exact: true }).check();
  await page.getByRole('button', { name: 'Change…' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByRole('combobox', { name: 'Set' }).fill('rack=r1');
  await page.keyboard.press('Enter');
  await dialog.getByText('1 of 1 change:').waitFor();
  await dialog.getByRole('button', { name: 'Change 1 target' }).click();
  await page.locator('main').getByText('rack=r1').waitFor();
  expect(faults).toEqual([]);
});
