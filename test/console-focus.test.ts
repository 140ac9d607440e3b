// Where the keyboard goes on when what had the focus is gone: never at the top of the page again. The answers come from
// the stand-in for the server, which the tests alter.
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { noBrowser as missing, StandIn } from './console-stand-in.ts';

const standIn = new StandIn();
beforeAll(() => standIn.start());
afterAll(() => standIn.stop());

/** Name and text of what has the focus. */
const focused = (page: Page) =>
  page.evaluate(
    '`${document.activeElement.localName} ${document.activeElement.getAttribute("aria-label") ?? document.activeElement.textContent.trim()}`',
  );
const eventually = (page: Page) => expect.poll(() => focused(page), { timeout: 20_000 });

async function open(path: string, width = 1440): Promise<Page> {
  const page = await standIn.page({ viewport: { width, height: 900 } });
  await page.goto(`${standIn.url}/${path}`);
  return page;
}
async function close(page: Page): Promise<void> {
  await page.unrouteAll({ behavior: 'ignoreErrors' });
  await page.context().close();
}

/** Lists tokens of these names, until the page deletes them. */
async function serveTokens(page: Page, names: readonly string[]): Promise<void> {
  const gone = new Set<string>();
  await page.route(/\/api\/v1\/tokens/, async (route) => {
    const request = route.request();
    if (request.method() === 'DELETE') {
      gone.add(new URL(request.url()).pathname.split('/').at(-1) ?? '');
      return route.fulfill({ status: 204 });
    }
    const answer = await route.fetch();
    const body = (await answer.json()) as { items: object[] };
    const items = names.map((name, id) => ({ ...body.items[0], id, name }));
    await route.fulfill({ json: { ...body, items: items.filter(({ id }) => !gone.has(String(id))) } });
  });
}

test('after a row was deleted, the focus is on the one in its place, otherwise on the one before or on the heading', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const page = await standIn.page({ viewport: { width: 1440, height: 900 } });
  await serveTokens(page, ['first', 'second', 'third']);
  await page.goto(`${standIn.url}/account`);
  for (const [name, next] of [
    ['first', 'button Revoke second'],
    ['third', 'button Revoke second'],
    ['second', 'h2 API tokens'],
  ] as const) {
    const revoke = { name: `Revoke ${name}`, exact: true };
    await page.getByRole('button', revoke).press('Enter');
    await page.getByRole('dialog').getByRole('button', revoke).press('Enter');
    await eventually(page).toBe(next);
  }
  await close(page);
});

test('after what failed was tried again with success, the focus is on the heading of the page', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const page = await standIn.page({ viewport: { width: 1440, height: 900 } });
  const failure = { error: { code: 'internal', message: 'Internal error.', requestId: 'req_1' } };
  await page.route('**/api/v1/credentials*', (route) => route.fulfill({ status: 500, json: failure }));
  await page.goto(`${standIn.url}/credentials`);
  const again = page.getByRole('button', { name: 'Try again' });
  await again.waitFor();
  await page.unroute('**/api/v1/credentials*');
  await again.press('Enter');
  await eventually(page).toBe('h1 Credentials');
  await close(page);
});

test('after a host key was accepted, the focus is on the heading of the keys: its button is gone', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const page = await open('targets?open=15');
  const panel = page.getByRole('complementary');
  await page.route('**/api/v1/targets/15/host-keys', async (route) => {
    const answer = await route.fetch();
    const target = (await answer.json()) as { hostKeys: { state: string }[] };
    const hostKeys = target.hostKeys.map((key) => ({ ...key, state: 'accepted' }));
    await route.fulfill({ json: { ...target, hostKeys } });
  });
  await panel.getByRole('button', { name: 'Accept…' }).press('Enter');
  await page.getByRole('button', { name: 'It is the same: accept' }).press('Enter');
  await eventually(page).toBe('h3 Host keys');
  await close(page);
});

test('a button that rests while its request runs has the focus again afterwards', async ({ skip }) => {
  if (missing !== undefined) skip(missing);
  const page = await open('targets?open=1');
  let release = () => {};
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  await page.route('**/api/v1/targets/1/test', async (route) => {
    await released;
    await route.continue();
  });
  await page.getByRole('button', { name: 'Test connection' }).press('Enter');
  await page.getByRole('button', { name: 'Testing…' }).waitFor();
  // The browser takes the focus away when it draws the page.
  await expect.poll(() => page.evaluate('document.activeElement === document.body')).toBe(true);
  release();
  await eventually(page).toBe('button Test connection');
  await close(page);
});

test('where there is no room for a list beside what is open, the focus goes there and back', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const page = await open('targets', 800);
  await page.getByRole('button', { name: /^dmz-web-03/ }).press('Enter');
  await eventually(page).toMatch(/^aside Target dmz-web-03/);
  await page.keyboard.press('Tab');
  await eventually(page).toBe('button Close');
  await page.keyboard.press('Enter');
  await eventually(page).toMatch(/^button dmz-web-03/);
  await close(page);
});

test('with j and k, the focus stays on a button of the target beside the list', async ({ skip }) => {
  if (missing !== undefined) skip(missing);
  const page = await open('targets?open=1');
  await page.getByRole('complementary').getByRole('button', { name: 'Test connection' }).focus();
  await page.keyboard.press('j');
  await page.getByRole('complementary', { name: 'Target dmz-web-02' }).waitFor();
  expect(await focused(page)).toBe('button Test connection');
  await close(page);
});

test('who has clicked beside everything gets no focus when a row goes', async ({ skip }) => {
  if (missing !== undefined) skip(missing);
  const page = await open('account');
  await page
    .getByRole('button', { name: /^Revoke / })
    .first()
    .focus();
  await page.getByText('all shortcuts').click();
  await page.evaluate('document.querySelector("[aria-label=\\"API tokens\\"] li").remove()');
  // Where focus is kept, it is given in the next frame.
  await page.evaluate('new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))');
  expect(await page.evaluate('document.activeElement === document.body')).toBe(true);
  await close(page);
});

test('a page about one thing is announced once, by the name of that thing', async ({ skip }) => {
  if (missing !== undefined) skip(missing);
  const page = await open('jobs');
  await page.evaluate(`
    window.told = [];
    const live = document.querySelector('[role="status"][aria-live="polite"]');
    new MutationObserver(() => window.told.push(live.textContent))
      .observe(live, { subtree: true, childList: true, characterData: true });
  `);
  let release = () => {};
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  await page.route('**/api/v1/jobs/1', async (route) => {
    await released;
    await route.continue();
  });
  await page.getByRole('link', { name: 'Patch web tier', exact: true }).press('Enter');
  await page.getByRole('heading', { name: 'Job 1, loading' }).waitFor();
  await eventually(page).toMatch(/^main /);
  expect(await page.evaluate('window.told')).toEqual([]);
  release();
  await page.getByRole('heading', { name: 'Patch web tier' }).waitFor();
  await expect.poll(() => page.evaluate('window.told'), { timeout: 20_000 }).toEqual(['Patch web tier']);
  await close(page);
});

test('keys that a button shows are no part of its name, and an accepted host key is announced', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const page = await open('targets?open=15');
  await page.getByRole('button', { name: 'Add target…', exact: true }).waitFor();
  await page.getByRole('complementary').getByRole('button', { name: 'Accept…' }).press('Enter');
  await page.getByRole('button', { name: 'It is the same: accept' }).press('Enter');
  await page.getByRole('status').getByText('Accepted the host key of dmz-web-15', { exact: true }).waitFor();
  await close(page);
});

test('a deletion is announced, also if it leads to another page', async ({ skip }) => {
  if (missing !== undefined) skip(missing);
  const page = await open('targets?open=15');
  await page.route(/\/api\/v1\/(targets|target-groups)\/\d+$/, (route) =>
    route.request().method() === 'DELETE' ? route.fulfill({ status: 204 }) : route.continue(),
  );
  const said = page.getByRole('status');
  await page.getByRole('complementary').getByRole('button', { name: 'Delete…' }).press('Enter');
  await page.getByRole('dialog').getByRole('button', { name: 'Delete dmz-web-15' }).press('Enter');
  await said.getByText(/^dmz-web-15 deleted/).waitFor();
  await page.goto(`${standIn.url}/targets/groups`);
  await page.getByRole('main').getByRole('link').filter({ hasText: /web/i }).first().click();
  await page.getByRole('button', { name: 'Delete…' }).press('Enter');
  const confirm = page.getByRole('dialog').getByRole('button', { name: /^Delete / });
  const name = (await confirm.textContent())?.replace('Delete ', '').trim() ?? '';
  await confirm.press('Enter');
  await said.getByText(`${name} deleted. Target groups`, { exact: true }).waitFor();
  await close(page);
});

test('a row, host or step that a single key leads to is announced, as the focus stays where it is', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const page = await standIn.page({ viewport: { width: 1440, height: 900 } });
  const told = page.locator('[role="status"][aria-live="polite"]');
  for (const [path, key, words] of [
    ['jobs', 'j', /^Back up switch configurations$/],
    ['runs', 'j', /, run 5000, running$/],
    ['targets?open=1', 'j', /^dmz-web-02, ok$/],
    ['audit', 'j', /^job\.created, job Patch web tier, c\.moreau$/],
    ['people', 'j', /^a\.okafor$/],
    ['runs/6801', 'j', /^dmz-web-02, step 2 snapshot, failed$/],
    ['runs/6801', 'h', /^dmz-web-01, step 1 drain, succeeded$/],
  ] as const) {
    await page.goto(`${standIn.url}/${path}`);
    await page.getByRole('main').getByRole('heading', { level: 1 }).waitFor();
    await page.waitForLoadState('networkidle');
    await page.keyboard.press(key);
    await expect.poll(() => told.textContent(), { timeout: 20_000, message: path }).toMatch(words);
  }
  await close(page);
});

test('after a host of a run was asked to be cancelled, that is announced, and the focus is on its output', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const page = await open('runs/4127');
  const cancel = page.getByRole('button', { name: /^Cancel host…/ });
  await cancel.waitFor();
  const output = page.getByRole('region', { name: /^Output of / });
  const name = (await output.getAttribute('aria-label')) ?? '';
  const host = /^Output of (\S+),/.exec(name)?.[1] ?? '';
  // The host is cancelled when the page reads it next.
  await page.route('**/cancel', (route) => route.fulfill({ status: 202, json: {} }));
  await cancel.press('Enter');
  await page.evaluate('document.querySelector(".output .cancel").remove()');
  await page.getByRole('button', { name: `Cancel ${host}` }).press('Enter');
  await page.getByRole('status').getByText(`${host} is being cancelled`, { exact: true }).waitFor();
  await eventually(page).toBe(`section ${name}`);
  await close(page);
});

test('a decision is taken by keyboard: each answer is described by what it means, choices are one stop, and what was decided is announced', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const page = await open('runs/4127');
  const answer = page.getByRole('button', { name: 'It failed…' });
  await answer.waitFor();
  await page.keyboard.press('n');
  await eventually(page).toBe('button It succeeded, continue…');
  await page.keyboard.press('Tab');
  const meaning = await answer.evaluate(
    (button) =>
      button.ownerDocument.getElementById(button.getAttribute('aria-describedby') ?? '')?.textContent,
  );
  expect(meaning).toMatch(/^Step 3 counts as failed on 2 hosts/);
  await page.keyboard.press('Enter');
  const dialog = page.getByRole('dialog');
  await dialog.getByRole('radio', { name: 'all 2 hosts' }).waitFor();
  await page.keyboard.press('Tab');
  await eventually(page).toMatch(/^textarea/);
  await page.keyboard.type('Seen on its console');
  await page.keyboard.press('Tab');
  await page.keyboard.press('Tab');
  await eventually(page).toMatch(/^button Count step 3 as failed/);
  await page.route('**/runs/4127/decisions', async (route) => {
    if (route.request().method() === 'POST') return route.fulfill({ json: { decided: 2 } });
    const answer = await route.fetch();
    await route.fulfill({ json: { ...(await answer.json()), groups: [] } });
  });
  await page.keyboard.press('Enter');
  await page.getByRole('status').getByText('Decided for 2 hosts.', { exact: true }).waitFor();
  await expect.poll(() => focused(page), { timeout: 20_000 }).toBe('h1 Patch web tier');
  await close(page);
});

test('a dialog begins at the first field that can be changed, and at the choice that is made', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const page = await open('targets');
  await page.getByRole('button', { name: /^dmz-web-03/ }).press('Enter');
  // A target stays in its segment.
  await page.getByRole('button', { name: 'Edit…', exact: true }).press('Enter');
  const nameOf = () => page.evaluate('document.activeElement.labels?.[0]?.textContent.trim()');
  await expect.poll(nameOf).toBe('Name');
  await page.goto(`${standIn.url}/runs/4003`);
  await page.getByRole('button', { name: /^Run again/ }).press('Enter');
  await page.getByRole('dialog').getByRole('radio').first().waitFor();
  await expect.poll(() => page.evaluate('document.activeElement.matches("input:checked")')).toBe(true);
  await close(page);
});
