// Runs in the console, in a real browser: from the sign-in link to the end of a run, again, and away.
import type { Page, Route } from 'playwright-core';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { ConsoleSystem, drawnLines, eventually, missing } from './console-browser.ts';

vi.setConfig({ testTimeout: 60_000 });

let c: ConsoleSystem;
beforeAll(async () => {
  if (missing === undefined) c = await ConsoleSystem.start();
});
afterEach(() => c?.closePages());
afterAll(() => c?.stop());

test('a sign-in link signs in once: its code leaves the address, and a second use says what to do', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const link = await c.signInLink();
  const first = await c.newPage();
  await first.page.goto(link);
  await first.page.getByRole('heading', { name: 'Jobs', exact: true }).waitFor();
  expect(first.page.url()).toBe(`${c.url}/`);
  // Not by going back either.
  await first.page.goBack();
  expect(first.page.url()).not.toContain('code=');

  const second = await c.newPage();
  await second.page.goto(link);
  await second.page.getByText('The link did not sign you in.').waitFor();
  // Nobody has given it to whoever started the server.
  await second.page.getByText('it prints a new one each time it starts').waitFor();
  expect(second.page.url()).not.toContain('code=');
  await second.page.getByRole('button', { name: 'Sign in' }).waitFor();
  expect(await second.page.getByText('You are still signed in').count()).toBe(0);

  // Whoever is signed in already stays so, also if the link is opened on the page that the console is at.
  await first.page.goto(`${c.url}/`);
  await first.page.getByRole('heading', { name: 'Jobs', exact: true }).waitFor();
  await first.page.goto(link);
  await first.page.getByText('You are still signed in as admin.').waitFor();
  await first.page.getByRole('button', { name: 'Continue as admin' }).click();
  await first.page.getByRole('heading', { name: 'Jobs', exact: true }).waitFor();
  expect([...first.faults, ...second.faults]).toEqual([]);
});

test('a run is started, its output is read live, and the page goes along with the step that runs', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const [first, second] = [await c.system.gate(), await c.system.gate()];
  const job = await c.system.api.made<{ id: number }>('/api/v1/jobs', {
    name: 'Greet the host',
    steps: [
      { name: 'hello', type: 'ssh.exec', config: { command: `echo hello; ${first.wait}` } },
      { name: 'goodbye', type: 'ssh.exec', config: { command: `echo goodbye; ${second.wait}; exit 3` } },
      { name: 'never', type: 'ssh.exec', config: { command: 'echo never' } },
    ],
  });
  const { page, faults } = await c.withSession();
  await page.goto(`${c.url}/jobs/${job.id}`);
  await page.getByRole('heading', { name: 'Greet the host' }).waitFor();
  await page.keyboard.press('r');
  await page.getByRole('checkbox', { name: /^host / }).check();
  await page.getByRole('button', { name: 'Run on 1 target' }).click();

  // Both are shown before the step ends: what it wrote, and that it runs.
  await page.locator('.lines').getByText('hello', { exact: true }).waitFor();
  await page.getByRole('gridcell', { name: /^hello: running, 0:0\d/ }).waitFor();
  await first.open();
  await page.locator('.lines').getByText('goodbye', { exact: true }).waitFor();
  expect(await drawnLines(page)).toEqual([{ number: 1, text: 'goodbye' }]);

  // Whoever picks a step stays with it, and is led back.
  await page.getByRole('gridcell', { name: /^hello: succeeded/ }).click();
  await page.locator('.lines').getByText('hello', { exact: true }).waitFor();
  await page.getByRole('button', { name: 'Step 2 is running' }).waitFor();
  await second.open();
  await page.getByRole('gridcell', { name: 'goodbye: failed, exit 3' }).waitFor();
  await page.getByRole('gridcell', { name: 'never: skipped' }).waitFor();
  expect(await drawnLines(page)).toEqual([{ number: 1, text: 'hello' }]);
  await page.locator('.title').getByText('failed').waitFor();

  await page.getByRole('button', { name: 'SSH connections…' }).click();
  const dialog = page.getByRole('dialog', { name: /^SSH connections of run / });
  await dialog.getByRole('cell', { name: '14 B', exact: true }).waitFor();
  const [host, , , ...carried] = await dialog.getByRole('cell').allInnerTexts();
  expect([host, ...carried]).toEqual(['host', '2', '0', '14 B']);
  await dialog.getByRole('button', { name: 'Close', exact: true }).last().click();
  await dialog.waitFor({ state: 'detached' });
  expect(faults).toEqual([]);
});

test('a start whose answer is lost is not told as none, and asked again in another dialog it is the same run', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const job = await c.system.api.made<{ id: number }>('/api/v1/jobs', {
    name: 'Start it once',
    steps: [{ name: 'hello', type: 'ssh.exec', config: { command: 'echo hello' } }],
  });
  const { page, faults } = await c.signedIn();
  const begin = async (told = '') => {
    await page.keyboard.press('r');
    if (told !== '') await page.getByRole('dialog').getByText(told).waitFor();
    await page.getByRole('checkbox', { name: /^host / }).check();
    await page.getByRole('button', { name: 'Run on 1 target' }).click();
  };
  await page.goto(`${c.url}/jobs/${job.id}`);
  await page.getByRole('heading', { name: 'Start it once' }).waitFor();
  const start = `**/api/v1/jobs/${job.id}/run`;
  await page.route(start, async (route) => {
    await route.fetch();
    await route.abort();
  });
  await begin();
  const note = page.getByRole('dialog').getByRole('alert');
  await note.getByText('It is not known whether the run started.').waitFor();
  expect(await note.textContent()).not.toMatch(/did not start|by itself/);
  await page.keyboard.press('Escape');
  await page.unroute(start);

  await page.getByRole('dialog').waitFor({ state: 'detached' });
  await begin('If you start the same here, it is that run');
  await page.locator('.title').getByText('succeeded').waitFor();
  const { body } = await c.system.api.get<{ items: { id: number }[] }>(`/api/v1/runs?jobId=${job.id}`);
  expect(body.items).toHaveLength(1);
  expect(page.url()).toContain(`/runs/${body.items[0]?.id}`);

  // What it was started as is answered: the next is a run of its own.
  await page.goto(`${c.url}/jobs/${job.id}`);
  await page.getByRole('heading', { name: 'Start it once' }).waitFor();
  await begin();
  await page.locator('.title').getByText('succeeded').waitFor();
  expect(page.url()).not.toContain(`/runs/${body.items[0]?.id}`);
  expect(faults).toEqual([]);
});

test('a run is run again on all of its hosts: until they are read nobody is offered some of them', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const gate = await c.system.gate();
  const { id } = await c.system.run([`echo begun; ${gate.wait}`]);
  const { page, faults } = await c.withSession();
  let release = () => {};
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  const reading = async (route: Route) => {
    await released;
    await route.continue();
  };
  await page.route(new RegExp(`/runs/${id}/steps\\?`), reading, { times: 1 });
  await page.goto(`${c.url}/runs/${id}`);
  const again = page.getByRole('button', { name: 'Run again…' });
  await again.waitFor();
  expect(await again.isDisabled()).toBe(true);
  await page.keyboard.press('r');
  expect(await page.getByRole('dialog').count()).toBe(0);
  release();
  await eventually(() => again.isDisabled()).toBe(false);
  await page.keyboard.press('r');
  await page.getByRole('dialog').getByRole('button', { name: 'Run on 1 target' }).waitFor();
  await page.keyboard.press('Escape');
  await gate.open();
  await page.locator('.title').getByText('succeeded').waitFor();
  expect(faults).toEqual([]);
});

test('an ended run is purged after a question; another browser that shows it is told that it is gone', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const gate = await c.system.gate();
  const { id } = await c.system.run([`echo up; ${gate.wait}`]);
  const [mine, other] = [await c.signedIn(), await c.signedIn()];
  for (const { page } of [mine, other]) {
    await page.goto(`${c.url}/runs/${id}`);
    await page.locator('.lines').getByText('up').waitFor();
    expect(await page.getByRole('button', { name: 'Purge…' }).count()).toBe(0);
  }
  await gate.open();
  const { page } = mine;
  await page.getByRole('button', { name: 'Purge…' }).click();
  await page.getByRole('button', { name: 'Keep it' }).click();
  expect((await c.system.api.get(`/api/v1/runs/${id}`)).status).toBe(200);
  await page.getByRole('button', { name: 'Purge…' }).click();
  await page.getByRole('button', { name: `Purge run ${id}` }).click();
  await page.waitForURL(`${c.url}/runs`);
  await page.getByRole('heading', { name: 'Runs', exact: true }).waitFor();
  expect(await page.getByText(`run ${id}`, { exact: true }).count()).toBe(0);
  expect((await c.system.api.get(`/api/v1/runs/${id}`)).status).toBe(404);
  // Who wants to purge it, too, is told.
  await other.page.getByRole('button', { name: 'Purge…' }).click();
  await other.page.getByRole('button', { name: `Purge run ${id}` }).click();
  await other.page.getByText(`Run ${id} not found.`).waitFor();
  expect(mine.faults).toEqual([]);
});

test('among a hundred steps the chosen one is in view, outline and all, and only those in view are drawn', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const t = await hundredSteps();
  const { page, faults } = await c.withSession();
  await page.goto(`${c.url}/runs/${t.id}?host=${t.host}&step=100`);
  await page.getByRole('gridcell', { name: 'step 100: pending' }).waitFor();
  await eventually(() => outlineIsWhole(page)).toBe(true);
  await eventually(() => stepTabIsWhole(page)).toBe(true);
  expect(await page.locator('.host .cell').count()).toBeLessThan(60);
  await page.keyboard.press('h');
  await page.getByRole('gridcell', { name: 'step 99: pending' }).waitFor();
  expect(page.url()).toContain('step=99');
  // Arrows, held down, lead to cells that were not drawn yet, each whole in view.
  await page.locator('.host .cell.current').focus();
  for (let press = 0; press < 45; press += 1) await page.keyboard.press('ArrowLeft');
  const focused = page.locator('.host .cell:focus');
  await eventually(() => focused.getAttribute('aria-label')).toBe('step 54: pending');
  await eventually(() => outlineIsWhole(page, ':focus')).toBe(true);
  await t.end();
  expect(faults).toEqual([]);
});

test('on a small screen the way back leads to the same host, its step whole in view', async ({ skip }) => {
  if (missing !== undefined) skip(missing);
  const t = await hundredSteps();
  const { page, faults } = await c.withSession({ width: 390 });
  await page.goto(`${c.url}/runs/${t.id}?host=${t.host}&step=100`);
  await eventually(() => stepTabIsWhole(page)).toBe(true);
  await page.getByRole('link', { name: 'All hosts' }).click();
  await page.getByRole('gridcell', { name: /^step 1: running/ }).waitFor();
  await eventually(() => outlineIsWhole(page)).toBe(true);
  await t.end();
  expect(faults).toEqual([]);
});

test('keys: `a` leads to adding an agent, `?` shows all of them, and none acts while one types', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const { page, faults } = await c.signedIn();
  await page.keyboard.press('/');
  await page.keyboard.type('a?');
  expect(await page.getByRole('searchbox').inputValue()).toBe('a?');
  await page.goto(`${c.url}/agents`);
  const lines = page.getByRole('button', { name: 'Show the commands and a token' });
  await lines.waitFor();
  await page.keyboard.press('a');
  await eventually(() => lines.evaluate((button) => button.matches(':focus'))).toBe(true);
  await page.keyboard.press('?');
  const dialog = page.getByRole('dialog', { name: 'Keyboard shortcuts' });
  const here = await dialog.getByRole('region', { name: 'On this page' }).textContent();
  const elsewhere = await dialog.getByRole('region', { name: 'On other pages' }).textContent();
  expect(here).toMatch(/a\s+add an agent/);
  expect(elsewhere).toMatch(/c\s+cancel the run \(asks\)/);
  await page.keyboard.press('Escape');
  await page.goto(`${c.url}/targets`);
  // There is something to add to once the segments are known, which is told apart from the list.
  await page.getByRole('button', { name: 'Add target…' }).waitFor();
  await page.keyboard.press('a');
  await page.getByRole('dialog', { name: 'Add a target' }).waitFor();
  expect(faults).toEqual([]);
});

test('another page begins at its top, is told of, and has the focus where the link that led to it is gone', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const { page, faults } = await c.signedIn();
  await page.locator('header').getByRole('link', { name: 'Agents' }).press('Enter');
  await page.getByRole('heading', { name: 'Agents', exact: true }).waitFor();
  const main = page.locator('main');
  await eventually(() => main.evaluate((element) => element.matches(':focus'))).toBe(true);
  await eventually(() => page.locator('[role="status"][aria-live="polite"]').textContent()).toBe('Agents');
  await page.getByRole('link', { name: 'agent-a' }).press('Enter');
  await page.getByRole('heading', { name: 'agent-a' }).waitFor();
  await eventually(() => main.evaluate((element) => element.matches(':focus'))).toBe(true);
  expect(faults).toEqual([]);
});

test('a password manager is told whose password is set', async ({ skip }) => {
  if (missing !== undefined) skip(missing);
  const { page } = await c.withSession();
  await page.goto(`${c.url}/account`);
  await page.getByLabel('New password').waitFor();
  const form = page.locator('form:has([autocomplete="new-password"])');
  expect(await form.locator('[autocomplete="username"]').inputValue()).toBe('admin');
  // Whoever has none yet was led here to set it.
  await page.getByRole('region', { name: 'Sessions' }).waitFor();
  expect(await page.locator('.column h2').first().textContent()).toBe('Password');
});

/** Every line drawn, at the beginning, in the midst and at the end, is the one that its number says. */

/** A run of a hundred steps that stays at its first one until it is ended. */
async function hundredSteps() {
  const gate = await c.system.gate();
  const { id } = await c.system.run([gate.wait, ...Array.from({ length: 99 }, () => 'true')]);
  const [step] = await c.system.steps(id);
  const end = async () => {
    await c.system.api.post(`/api/v1/executor/cancel/${id}`);
    await gate.open();
  };
  return { id, host: step?.targetRunId, end };
}

/** The chosen cell with its outline of 3 px is within the list, and no cell at the sides covers it. */
function outlineIsWhole(page: Page, which = '.current'): Promise<boolean> {
  return page.locator(`.host .cell${which}`).evaluate((cell) => {
    const row = cell.closest('.host');
    const list = cell.closest('.rows')?.getBoundingClientRect();
    const left = row?.querySelector('.name-cell')?.getBoundingClientRect().right ?? Number.NaN;
    const right = row?.querySelector('.time')?.getBoundingClientRect().left ?? Number.NaN;
    const at = cell.getBoundingClientRect();
    const page = cell.closest('main')?.getBoundingClientRect();
    const bottom = Math.min(list?.bottom ?? Number.NaN, page?.bottom ?? Number.NaN);
    return (
      at.left - 3 >= left &&
      at.right + 3 <= right &&
      at.top - 3 >= (list?.top ?? Number.NaN) &&
      at.bottom + 3 <= bottom
    );
  });
}

function stepTabIsWhole(page: Page): Promise<boolean> {
  return page.locator('nav[aria-label="Steps"] [aria-current]').evaluate((tab) => {
    const [at, list] = [tab.getBoundingClientRect(), tab.parentElement?.getBoundingClientRect()];
    return list !== undefined && at.left >= list.left - 1 && at.right <= list.right + 1;
  });
}
