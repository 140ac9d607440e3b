// Segments, agents and enrollment tokens in the console.
import type { Agent, EnrollmentTokenReply } from '@opsconductor/protocol';
import { encodeBase64, generateSigningKeyPair } from '@opsconductor/protocol/sealing';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { ConsoleSystem, eventually, missing } from './console-browser.ts';

let c: ConsoleSystem;
beforeAll(async () => {
  if (missing === undefined) c = await ConsoleSystem.start();
}, 120_000);
afterEach(() => c?.closePages());
afterAll(() => c?.stop());

test('how long the agents of a segment may be silent is changed on its panel', async ({ skip }) => {
  if (missing !== undefined) skip(missing);
  const { page, faults } = await c.withSession();
  await page.goto(`${c.url}/agents`);
  await page.getByRole('button', { name: /^Change how long agents of / }).click();
  const form = page.getByRole('dialog', { name: /^Unknown after: / });
  const seconds = form.getByRole('spinbutton', { name: 'Unknown after (seconds)' });
  expect(await seconds.inputValue()).toBe('300');
  await seconds.fill('5400');
  await form.getByRole('button', { name: 'Save' }).click();
  await page
    .getByRole('region', { name: /^Segment / })
    .getByText('1 h 30 min')
    .waitFor();
  expect(faults).toEqual([]);
});

test('a segment that has nothing is deleted once confirmed, and is kept while something belongs to it', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const { api } = c.system;
  const { id: segmentId } = await api.made<{ id: number }>('/api/v1/segments', { name: 'mistyped' });
  const inventory = await api.made<{ id: number }>('/api/v1/inventories', {
    name: 'office list',
    format: 'csv',
    segmentId,
  });
  const { page, faults } = await c.withSession();
  await page.goto(`${c.url}/agents`);
  await page.getByRole('region', { name: 'Segment dmz' }).waitFor();
  expect(await page.getByRole('button', { name: 'Delete segment dmz' }).count()).toBe(0);
  await page.getByRole('button', { name: 'Delete segment mistyped' }).click();
  const dialog = page.getByRole('dialog', { name: 'Delete segment mistyped?' });
  await dialog.getByRole('button', { name: 'Delete mistyped' }).click();
  await dialog.getByText('The segment was not deleted. Segment “mistyped” still has 1 inventory.').waitFor();
  await api.send('DELETE', `/api/v1/inventories/${inventory.id}`);
  await dialog.getByRole('button', { name: 'Delete mistyped' }).click();
  await page.getByRole('region', { name: 'Segment mistyped' }).waitFor({ state: 'detached' });
  expect((await api.get(`/api/v1/segments/${segmentId}`)).status).toBe(404);
  expect(faults).toEqual([]);
});

test('where there is no agent yet, adding one comes first, and then the first target', async ({ skip }) => {
  if (missing !== undefined) skip(missing);
  const { api } = c.system;
  const { body } = await api.get<{ items: Agent[] }>('/api/v1/agents');
  const { page, faults } = await c.withSession();
  let items: Agent[] = [];
  await page.route(/\/api\/v1\/agents\?/, (route) => route.fulfill({ json: { items, nextCursor: null } }));
  await page.goto(`${c.url}/agents`);
  await page.getByRole('button', { name: 'New segment…' }).click();
  const form = page.getByRole('dialog', { name: 'New segment' });
  await form.getByRole('textbox', { name: 'Name', exact: true }).fill('annex');
  const before = await page.locator('footer', { hasText: 'UTC' }).textContent();
  await form.getByRole('button', { name: 'Create segment' }).click();
  await page.getByRole('region', { name: 'Segment annex' }).waitFor();
  await eventually(() => page.locator('footer', { hasText: 'UTC' }).textContent()).not.toBe(before);
  const add = page.getByRole('region', { name: 'Add an agent' });
  await eventually(() => page.locator('.side h2').first().textContent()).toBe('Add an agent to');
  await add.getByRole('button', { name: 'Show the commands and a token' }).click();
  await add.getByText('Waiting for the agent').waitFor();
  items = body.items.map((agent) => ({ ...agent, id: 99_999, name: 'annex-a' }));
  await add.getByText('annex-a is connected').waitFor();
  await add.getByRole('link', { name: 'Add a target of annex' }).click();
  await page.getByRole('button', { name: 'Add target…' }).waitFor();
  expect(faults).toEqual([]);
});

test('whether an owner-held segment could be recovered is told beside it, with what its owner does', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const ownerRoot = encodeBase64((await generateSigningKeyPair()).publicKey);
  const made = await c.system.api.made<{ id: number }>('/api/v1/segments', { name: 'vault', ownerRoot });
  const { page, faults } = await c.withSession();
  await page.goto(`${c.url}/agents`);
  await page.getByRole('region', { name: 'Segment dmz' }).waitFor();
  expect(await page.getByRole('button', { name: 'Recovery of dmz' }).count()).toBe(0);
  await page.getByRole('button', { name: 'Recovery of vault' }).click();
  const dialog = page.getByRole('dialog', { name: 'Recovery of vault' });
  await dialog.getByText('It has no recovery key.').waitFor();
  await dialog.getByText('key make vault-recovery.key --purpose recovery').waitFor();
  expect(await dialog.getByText('When all of its agents are lost').count()).toBe(0);

  // Named in the roster meanwhile: the open dialog says so.
  const key = { recoveryKey: encodeBase64(new Uint8Array(32)) };
  await c.system.sql`update segments set ${c.system.sql(key)} where id = ${made.id}`;
  await dialog.getByText('It has a recovery key, but no segment key yet.').waitFor();
  await dialog.getByText('When all of its agents are lost').click();
  await dialog.getByText(/recovery use vault --agent NEW-AGENT/).waitFor();
  await page.keyboard.press('Escape');
  await eventually(() =>
    page.getByRole('button', { name: 'Recovery of vault' }).evaluate((one) => one.matches(':focus')),
  ).toBe(true);
  expect(faults).toEqual([]);
});

test('enrollment tokens that were not used are listed with who made them, and are revoked once confirmed', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const { api, sql } = c.system;
  const { id: segmentId } = await api.made<{ id: number }>('/api/v1/segments', { name: 'invited' });
  const user = await api.made<{ id: number }>('/api/v1/users', { name: 'maren' });
  const path = `/api/v1/segments/${segmentId}/enrollment-tokens`;
  const [first, used] = [
    await api.made<EnrollmentTokenReply>(path),
    await api.made<EnrollmentTokenReply>(path),
  ];
  await sql`update enrollment_tokens set created_by = ${user.id} where id = ${first.id}`;
  const { page, faults } = await c.withSession();
  await page.goto(`${c.url}/agents?segmentId=${segmentId}`);
  const list = page.getByRole('region', { name: 'Unused tokens' });
  const row = (id: number) => list.getByRole('listitem').filter({ hasText: `Token ${id} ` });
  await row(first.id).getByText('by maren').waitFor();
  await row(first.id).getByText('admits no agent: maren may no longer enroll agents here').waitFor();
  await row(used.id).getByText('admits one agent').waitFor();

  // One that is made here is listed at once, and its commands go with it.
  await page.getByRole('button', { name: 'Show the commands and a token' }).click();
  const shown = list.getByRole('listitem').filter({ hasText: 'shown above' });
  await shown.getByRole('button', { name: /^Revoke token/ }).click();
  const dialog = page.getByRole('dialog', { name: /^Revoke token/ });
  await dialog.getByRole('button', { name: 'Keep it' }).click();
  await page.getByText('Waiting for the agent').waitFor();
  await shown.getByRole('button', { name: /^Revoke token/ }).click();
  await dialog.getByRole('button', { name: /^Revoke token/ }).click();
  await shown.waitFor({ state: 'detached' });
  await page.getByRole('button', { name: 'Show the commands and a token' }).waitFor();
  await eventually(() =>
    list.getByRole('heading', { name: 'Unused tokens' }).evaluate((one) => one.matches(':focus')),
  ).toBe(true);

  // An agent was faster: that is said, and the list no longer has it.
  await sql`update enrollment_tokens set used_at = now() where id = ${used.id}`;
  await row(used.id)
    .getByRole('button', { name: /^Revoke token/ })
    .click();
  await dialog.getByRole('button', { name: /^Revoke token/ }).click();
  await dialog.getByText('An agent has already used this token.').waitFor();
  await dialog.getByRole('button', { name: 'Keep it' }).click();
  await row(used.id).waitFor({ state: 'detached' });

  await page.route(/\/enrollment-tokens$/, (route) => route.fulfill({ status: 500, json: {} }));
  await page.reload();
  await list.getByText('The tokens could not be loaded.').waitFor();
  await page.unroute(/\/enrollment-tokens$/);
  await list.getByRole('button', { name: 'Try again' }).click();
  await row(first.id)
    .getByRole('button', { name: /^Revoke token/ })
    .click();
  await dialog.getByRole('button', { name: /^Revoke token/ }).click();
  await list.getByText('None in invited.').waitFor();
  expect(await sql`select id from enrollment_tokens where segment_id = ${segmentId}`).toEqual([
    { id: used.id },
  ]);
  expect(faults).toEqual([]);
});

test('the frame and the page of an agent ask for no segments or agents but those they show', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const { api } = c.system;
  await api.made('/api/v1/segments', { name: 'without-agents' });
  const { items } = (await api.get<{ items: { id: number; segmentId: number }[] }>('/api/v1/agents')).body;
  const { page, faults } = await c.withSession();
  const lists: string[] = [];
  page.on('request', (request) => {
    const { pathname, search } = new URL(request.url());
    if (/^\/api\/v1\/(segments|agents)$/.test(pathname)) lists.push(pathname + search);
  });
  await page.goto(`${c.url}/agents/${items[0]?.id}`);
  await page
    .locator('footer')
    .getByText(/\d segments, .*without an agent/)
    .waitFor();
  await page.getByRole('button', { name: 'Drain…' }).waitFor();
  expect(lists).toEqual([`/api/v1/agents?limit=200&segmentId=${items[0]?.segmentId}`]);
  // Of hundreds of segments those out of sight cost nothing while their clocks go.
  await page.goto(`${c.url}/agents`);
  const segment = page.getByRole('region', { name: 'Segment without-agents' });
  const kept = segment.evaluate((panel) => `${panel.computedStyleMap().get('content-visibility')}`);
  expect(await kept).toBe('auto');
  expect(faults).toEqual([]);
});
