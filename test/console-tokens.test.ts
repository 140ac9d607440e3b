// Tokens and sessions that end, as it shows in the console: what was made with them is named, and ends from there.
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { ConsoleSystem, missing } from './console-browser.ts';

vi.setConfig({ testTimeout: 120_000 });

let c: ConsoleSystem;
beforeAll(async () => {
  if (missing === undefined) c = await ConsoleSystem.start();
});
afterEach(() => c?.closePages());
afterAll(() => c?.stop());

test('what was made with a token is named when the token is revoked, and ends with it only if that is chosen', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const { api } = c.system;
  const makeWith = async (name: string, token: string) => {
    const reply = await fetch(`${c.url}/api/v1/tokens`, {
      method: 'POST',
      headers: { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' },
      body: JSON.stringify({ name }),
    });
    expect(reply.status).toBe(201);
    return ((await reply.json()) as { token: string }).token;
  };
  const stolen = await api.made<{ token: string }>('/api/v1/tokens', { name: 'stolen' });
  const child = await makeWith('made with it', stolen.token);
  await makeWith('made with that', child);
  const { page, faults } = await c.withSession();
  await page.goto(`${c.url}/account`);
  const row = (name: string) =>
    page
      .getByRole('region', { name: 'API tokens' })
      .getByRole('listitem')
      .filter({ hasText: `${name} oct_` });
  await row('made with it').getByText('made with API token stolen').waitFor();

  await row('made with that').getByRole('button').click();
  const dialog = page.getByRole('dialog');
  await dialog.getByText('Nothing that was made with it still works, as far as is known.').waitFor();
  await dialog.getByRole('button', { name: 'Keep it' }).click();

  await row('stolen').getByRole('button').click();
  const names = dialog.getByRole('list', { name: 'Would end too' }).getByRole('listitem');
  await names.first().waitFor();
  expect((await names.allTextContents()).map((name) => name.replace(/ of .*/, ''))).toEqual([
    'API token made with it',
    'API token made with that',
  ]);
  await dialog.getByRole('button', { name: 'Revoke stolen' }).waitFor();
  await dialog.getByRole('checkbox', { name: 'Also end the 2 things that were made with it' }).check();
  await dialog.getByRole('button', { name: 'Revoke it and 2 more' }).click();
  for (const name of ['stolen', 'made with it', 'made with that'])
    await row(name).waitFor({ state: 'detached' });
  const refused = await fetch(`${c.url}/api/v1/me`, { headers: { Authorization: `Bearer ${child}` } });
  expect(refused.status).toBe(401);
  expect(faults).toEqual([]);
});

/** Someone in another session of the same user, who has made a token there. */
async function thiefWithToken(name: string): ReturnType<ConsoleSystem['signedIn']> {
  const thief = await c.withSession();
  await thief.page.goto(`${c.url}/account`);
  await thief.page.getByRole('button', { name: 'New token…' }).click();
  await thief.page.getByLabel('Name').fill(name);
  await thief.page.getByRole('button', { name: 'Create token' }).click();
  await thief.page.getByText('Copy it now:').waitFor();
  return thief;
}

test('a token that was made in a session ends with it if that is chosen, and goes from the list at once', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  await thiefWithToken('of the thief');

  const { page, faults } = await c.withSession();
  await page.goto(`${c.url}/account`);
  const tokens = page.getByRole('region', { name: 'API tokens' });
  const row = tokens.getByRole('listitem').filter({ hasText: 'of the thief' });
  await row.getByText(/made in a session that began/).waitFor();
  await page.getByRole('button', { name: /^End all/ }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByText('API token of the thief of').waitFor();
  await dialog.getByRole('checkbox').check();
  await dialog.getByRole('button', { name: /^End them and \d+ more$/ }).click();
  // The list is read every 30 s by itself.
  await row.waitFor({ state: 'detached', timeout: 15_000 });
  await tokens.getByRole('listitem').first().waitFor();
  expect(faults).toEqual([]);
});

test('what was made in a session that has ended is found below the sessions, and ends from there', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const thief = await thiefWithToken('left behind');
  await thief.page.getByRole('button', { name: 'Done' }).click();
  await thief.page.getByRole('button', { name: 'Sign out' }).click();
  await thief.page.getByRole('button', { name: 'Sign in' }).waitFor();

  const { page, faults } = await c.withSession();
  await page.goto(`${c.url}/account`);
  const sessions = page.getByRole('region', { name: 'Sessions' });
  await sessions.getByText('1 ended session made something that still works').click();
  await sessions.getByRole('button', { name: /^End what the session that began .* made$/ }).click();
  const dialog = page.getByRole('dialog', { name: 'End what was made in this session?' });
  await dialog.getByText('API token left behind of').waitFor();
  await dialog.getByRole('button', { name: 'End 1 thing' }).click();
  await dialog.waitFor({ state: 'detached' });
  await sessions.getByText('made something that still works').waitFor({ state: 'detached' });
  const row = page.getByRole('region', { name: 'API tokens' }).getByText('left behind');
  await row.waitFor({ state: 'detached', timeout: 15_000 });
  expect(faults).toEqual([]);
});
