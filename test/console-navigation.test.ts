// Ways through the console: addresses that lead somewhere, headings of what is not there, and the command palette.
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { ConsoleSystem, eventually, missing } from './console-browser.ts';

let c: ConsoleSystem;
beforeAll(async () => {
  if (missing === undefined) c = await ConsoleSystem.start();
}, 120_000);
afterEach(() => c?.closePages());
afterAll(() => c?.stop());

test('an open target is in the address: a reload, a link and the command palette lead to it', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const { page, faults } = await c.withSession();
  await page.goto(`${c.url}/targets`);
  const row = page.getByRole('button', { name: /^host / });
  const panel = page.getByRole('complementary', { name: 'Target host', exact: true });
  const opened = () => new URL(page.url()).searchParams.get('open');
  await row.click();
  await panel.waitFor();
  const id = opened();
  expect(id).toMatch(/^\d+$/);
  await page.reload();
  await panel.waitFor();
  await panel.getByRole('button', { name: 'Close' }).click();
  await panel.waitFor({ state: 'detached' });
  expect(opened()).toBeNull();
  await page.goto(`${c.url}/agents`);
  await page.getByRole('heading', { name: 'Agents' }).waitFor();
  await page.keyboard.press('Control+k');
  await page.getByRole('dialog', { name: 'Go to' }).waitFor();
  await page.keyboard.type('host');
  await page.getByRole('option', { name: 'host target', selected: true }).waitFor();
  await page.keyboard.press('Enter');
  await panel.waitFor();
  expect(opened()).toBe(id);
  // As other things have such addresses, this one is typed.
  await page.goto(`${c.url}/targets/${id}`);
  await panel.waitFor();
  expect(opened()).toBe(id);
  expect(new URL(page.url()).pathname).toBe('/targets');
  // The filters change the list and leave the target open.
  await page.getByRole('combobox', { name: 'Operating system' }).selectOption('linux');
  await eventually(() => Promise.resolve(page.url())).toContain('os=linux');
  await panel.waitFor();
  expect(opened()).toBe(id);
  expect(faults).toEqual([]);
});

test('a target that the list does not have is opened from the address, tested and closed, and the filter stays', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const { page, faults } = await c.withSession();
  const { targetId } = c.system;
  await page.goto(`${c.url}/targets?search=nowhere&open=${targetId}`);
  const panel = page.getByRole('complementary', { name: 'Target host', exact: true });
  await panel.getByText('The filter of the list leaves this target out.').waitFor();
  await page.getByRole('heading', { name: 'No targets match' }).waitFor();
  await panel.getByRole('button', { name: 'Test connection' }).click();
  await panel.getByText(/^Tested through /).waitFor();
  const edited = `seen ${Date.now()}`;
  await panel.getByRole('button', { name: 'Edit…' }).click();
  const form = page.getByRole('dialog');
  await form.getByRole('textbox', { name: 'Description' }).fill(edited);
  await form.getByRole('button', { name: 'Save' }).click();
  await panel.getByText(edited).waitFor();
  await panel.getByRole('button', { name: 'Close' }).click();
  await panel.waitFor({ state: 'detached' });
  expect(new URL(page.url()).search).toBe('?search=nowhere');

  // Nor does a filter close it: its answer never comes, and what the list had of it stays open.
  await page.goto(`${c.url}/targets?open=${targetId}`);
  await panel.waitFor();
  await page.route(`**/api/v1/targets/${targetId}`, () => undefined);
  await page.getByRole('searchbox', { name: 'Search targets' }).fill('nowhere');
  await page.getByRole('heading', { name: 'No targets match' }).waitFor();
  await panel.getByText('The filter of the list leaves this target out.').waitFor();

  await page.goto(`${c.url}/targets?os=linux&open=999999`);
  const note = page.getByRole('alert').filter({ hasText: 'The target of this link can’t be opened.' });
  await note.waitFor();
  await page.getByRole('button', { name: /^host / }).waitFor();
  await note.getByRole('button', { name: 'Dismiss' }).click();
  await note.waitFor({ state: 'detached' });
  expect(new URL(page.url()).search).toBe('?os=linux');
  expect(faults).toEqual([]);
});

test('while a page loads, its heading stands where it will be', async ({ skip }) => {
  if (missing !== undefined) skip(missing);
  const { api } = c.system;
  const group = await api.made<{ id: number }>('/api/v1/target-groups', {
    name: 'Later',
    selector: 'tier=late',
  });
  const { id: runId } = await c.system.run(['true']);
  const { body: jobs } = await api.get<{ items: { id: number }[] }>('/api/v1/jobs');
  for (const width of [1440, 390]) {
    const { page, faults } = await c.withSession({ width });
    const heading = page.getByRole('heading', { level: 1 });
    for (const path of [
      `targets/groups/${group.id}`,
      `jobs/${jobs.items[0]?.id}`,
      `runs/${runId}`,
      'people/users/1',
      'agents/1',
    ]) {
      let answer = () => {};
      const held = new Promise<void>((resolve) => {
        answer = resolve;
      });
      await page.route(/\/api\/v1\/(target-groups|jobs|runs|users|agents)\/\d+$/, async (route) => {
        await held;
        await route.continue();
      });
      await page.goto(`${c.url}/${path}`);
      await page.getByRole('heading', { level: 1, name: /loading$/ }).waitFor();
      const before = await heading.boundingBox();
      answer();
      await page.getByRole('heading', { level: 1, name: /(?<!loading)$/ }).waitFor();
      const after = await heading.boundingBox();
      await page.unrouteAll({ behavior: 'ignoreErrors' });
      expect([path, after?.y, after?.height]).toEqual([path, before?.y, before?.height]);
    }
    expect(faults).toEqual([]);
  }
});

test('what is not there, may not be seen or can’t be loaded is named by the heading of its page', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const { page, faults } = await c.withSession();
  const headed = (name: string) => page.getByRole('heading', { level: 1, name }).waitFor();
  for (const [path, name] of [
    ['nowhere', 'Page not found'],
    ['targets/scans/999999', 'There is no scan 999999'],
    ['jobs/999999/edit', 'There is no job 999999'],
  ]) {
    await page.goto(`${c.url}/${path}`);
    await headed(name ?? '');
  }
  await page.route(/\/api\/v1\/(host-scans|jobs|target-groups)\/\d+/, (route) =>
    route.fulfill({ status: 500, json: {} }),
  );
  for (const [path, name] of [
    ['targets/scans/7', 'Scan 7'],
    ['targets/groups/7/edit', 'Target group 7'],
    ['jobs/7/edit', 'Job 7'],
  ]) {
    await page.goto(`${c.url}/${path}`);
    await headed(name ?? '');
  }
  expect(faults).toEqual([]);
});

test('what was found for an earlier text is gone from the command palette once it no longer fits', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const { page, faults } = await c.withSession();
  await page.goto(`${c.url}/agents`);
  await page.getByRole('heading', { name: 'Agents' }).waitFor();
  await page.keyboard.press('Control+k');
  await page.getByRole('dialog', { name: 'Go to' }).waitFor();
  await page.keyboard.type('adm');
  const user = page.getByRole('option', { name: 'admin user' });
  await user.waitFor();
  // The answer to the next text never comes.
  await page.route(/\/api\/v1\/users\?/, () => undefined);
  await page.keyboard.type('i');
  await user.waitFor();
  await page.keyboard.type('x');
  await user.waitFor({ state: 'detached' });
  expect(faults).toEqual([]);
});

test('the command palette gives the focus back to what had it', async ({ skip }) => {
  if (missing !== undefined) skip(missing);
  const { page, faults } = await c.withSession();
  await page.goto(`${c.url}/jobs/new`);
  const button = page.getByRole('button', { name: /^Create job/ });
  await button.focus();
  await page.keyboard.press('Control+k');
  await page.getByRole('dialog', { name: 'Go to' }).waitFor();
  await page.keyboard.press('Escape');
  await page.getByRole('dialog', { name: 'Go to' }).waitFor({ state: 'detached' });
  await eventually(() => button.and(page.locator(':focus')).count()).toBe(1);
  expect(faults).toEqual([]);
});
