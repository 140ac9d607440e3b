// Signing in and out in the console, and what becomes of what somebody has typed meanwhile.
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { ConsoleSystem, missing } from './console-browser.ts';

vi.setConfig({ testTimeout: 120_000 });

let c: ConsoleSystem;
beforeAll(async () => {
  if (missing === undefined) c = await ConsoleSystem.start();
});
afterEach(() => c?.closePages());
afterAll(() => c?.stop());

interface Made {
  id: number;
}
const makeUser = (name: string) => c.system.api.made<Made>('/api/v1/users', { name });

test('a sign-in link is shown once, signs its user in, and their session is ended from here', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const { page, faults } = await c.withSession();
  await page.goto(`${c.url}/people`);
  await page.getByText('Users', { exact: true }).first().waitFor();
  await page.keyboard.press('a');
  await page.getByRole('dialog', { name: 'New user' }).getByLabel('Name', { exact: true }).fill('nina');
  await page.getByRole('button', { name: 'Create user' }).click();
  await page.getByRole('heading', { name: 'nina', exact: true }).waitFor();
  await page.getByText('no way in').waitFor();
  await page.getByRole('button', { name: 'Sign-in link…' }).click();
  await page.getByRole('button', { name: 'Create link' }).click();
  const link = await page.getByRole('dialog').locator('code').textContent();
  await page.getByRole('button', { name: 'Done' }).click();
  await page.getByRole('dialog').waitFor({ state: 'detached' });
  expect(await page.locator('body').textContent()).not.toContain(new URL(link ?? '').hash);

  const other = await c.newPage();
  await other.page.goto(link ?? '');
  await other.page.getByRole('heading', { name: 'You have no permissions yet' }).waitFor();
  // A link works once: without a password nina can't come back.
  await other.page.getByRole('link', { name: 'Set a password' }).click();
  await other.page.getByLabel('New password').waitFor();
  await other.page.goBack();
  await other.page.getByRole('heading', { name: 'You have no permissions yet' }).waitFor();
  await page.reload();
  await page.getByRole('button', { name: /^End the session of Chrome on Linux/ }).click();
  await page.getByRole('button', { name: 'End it' }).click();
  await page.getByText('nina has no open sessions.').waitFor();
  await other.page.getByText('Check again').click();
  await other.page.getByText('Your session ended.').waitFor();
  expect([...faults, ...other.faults]).toEqual([]);
});

test('what was typed outlives the session for who typed it; another user who signs in there sees nothing of it', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const { api } = c.system;
  const password = 'correct horse battery staple';
  const withPassword = async (name: string) => {
    const user = await makeUser(name);
    await api.made('/api/v1/grants', { userId: user.id, role: 'admin', scope: null });
    const opened = await c.signedInAs(name);
    const answer = await opened.page.evaluate(async (chosen) => {
      const headers = { 'content-type': 'application/json' };
      const body = JSON.stringify({ password: chosen });
      return (await fetch('/api/v1/me/password', { method: 'PUT', headers, body })).status;
    }, password);
    expect(answer).toBe(204);
    return { ...opened, user };
  };
  await withPassword('otto');
  const { page, faults, user } = await withPassword('vera');
  const again = page.getByRole('dialog', { name: 'Sign in' });
  /** As when it was not used for long; the page asks when it is looked at again. */
  const sessionEnds = async () => {
    expect((await api.send('DELETE', `/api/v1/users/${user.id}/sessions`)).status).toBe(200);
    await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))");
    await again.getByText('Your session ended.').waitFor();
  };
  const signIn = async (name: string) => {
    await again.getByLabel('Name', { exact: true }).fill(name);
    await again.getByLabel('Password', { exact: true }).fill(password);
    await again.getByRole('button', { name: 'Sign in' }).click();
  };
  const name = page.getByLabel('Name', { exact: true });

  // On a page.
  await page.goto(`${c.url}/targets/groups/new`);
  await name.fill('night shift');
  await page.getByRole('textbox', { name: 'Selector' }).fill('team=night');
  await sessionEnds();
  // It is covered, and neither keys nor links reach it.
  expect(await page.getByRole('button', { name: /^Create target group/ }).isVisible()).toBe(true);
  expect(await page.evaluate(`document.elementFromPoint(720, 20)?.closest('dialog')?.ariaLabel`)).toBe(
    'Sign in',
  );
  for (const key of ['Escape', 'Escape', 'Control+k', 'Control+s']) await page.keyboard.press(key);
  expect(await page.getByRole('dialog').count()).toBe(1);
  await signIn('vera');
  await again.waitFor({ state: 'detached' });
  expect(await name.inputValue()).toBe('night shift');
  expect(await page.title()).toBe('New target group · OpsConductor');
  await page.keyboard.press('Control+s');
  await page.getByRole('heading', { name: 'night shift' }).waitFor();

  // In a dialog, which stands above a page.
  await page.getByRole('link', { name: 'People' }).click();
  await page
    .getByRole('heading', { name: 'Users' })
    .or(page.getByText('Users', { exact: true }))
    .first()
    .waitFor();
  await page.keyboard.press('a');
  const typed = page.getByRole('dialog', { name: 'New user' }).getByLabel('Name', { exact: true });
  await typed.fill('secret plan');
  await page.keyboard.press('Control+k');
  expect(await page.getByRole('dialog').count()).toBe(1);
  await sessionEnds();
  await signIn('vera');
  await again.waitFor({ state: 'detached' });
  expect(await typed.inputValue()).toBe('secret plan');

  await page.keyboard.press('Escape');
  await page.getByRole('button', { name: /^Discard/ }).click();

  // In the dialog that saves a job, above an editor that has changes of its own.
  const job = await api.made<{ id: number }>('/api/v1/jobs', {
    name: 'Typed',
    steps: [{ name: 'hello', type: 'ssh.exec', config: { command: 'echo hello' } }],
  });
  await page.goto(`${c.url}/jobs/${job.id}/edit`);
  await page.getByRole('textbox', { name: 'Command' }).fill('echo more');
  await page.keyboard.press('Control+s');
  const note = page.getByRole('dialog', { name: 'Save version 2' }).getByLabel('Note');
  await note.fill('secret plan');
  await sessionEnds();
  await signIn('vera');
  await again.waitFor({ state: 'detached' });
  // What was read on the way is read again by now.
  await page.getByRole('contentinfo').getByText('Live', { exact: true }).waitFor();
  expect(await note.inputValue()).toBe('secret plan');

  await sessionEnds();
  await signIn('otto');
  await page.locator('header').getByText('otto', { exact: true }).waitFor();
  expect(await page.getByRole('dialog').count()).toBe(0);
  expect(new URL(page.url()).pathname).toBe('/jobs');
  expect(
    await page.evaluate(`[...document.querySelectorAll('input')].map(({ value }) => value).join()`),
  ).not.toContain('secret plan');
  expect(faults).toEqual([]);
});

test('a form that something was typed in asks before its page is left', async ({ skip }) => {
  if (missing !== undefined) skip(missing);
  const { page, faults } = await c.withSession();
  await page.goto(`${c.url}/targets/groups/new`);
  const name = page.getByLabel('Name', { exact: true });
  await name.fill('half a thought');
  await page.locator('header').getByRole('link', { name: 'Agents' }).click();
  const ask = page.getByRole('dialog', { name: 'Leave without saving?' });
  await ask.getByRole('button', { name: 'Keep editing' }).click();
  expect(await name.inputValue()).toBe('half a thought');
  await page.locator('header').getByRole('link', { name: 'Agents' }).click();
  await ask.getByRole('button', { name: 'Discard and leave' }).click();
  await page.getByRole('heading', { name: 'dmz' }).waitFor();
  expect(faults).toEqual([]);
});
