// Jobs in the console, as those who write and run them go about it: from nothing to a run, from a mistake to its mending,
// from a run to the step that failed.
import type { Job, RunDetail } from '@opsconductor/protocol';
import type { Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { ConsoleSystem, eventually, missing } from './console-browser.ts';
import { jobOf } from './support/short-jobs.ts';

vi.setConfig({ testTimeout: 60_000 });

let c: ConsoleSystem;
beforeAll(async () => {
  if (missing === undefined) c = await ConsoleSystem.start();
});
afterEach(() => c?.closePages());
afterAll(() => c?.stop());

const command = (page: Page) => page.getByRole('textbox', { name: 'Command' });
const rendered = (page: Page) => page.getByRole('region', { name: 'Rendered command' });
const errors = (page: Page) => page.getByRole('button', { name: /^\d+ errors? blocks? saving$/ });

test('a job is written from nothing, broken, its errors read and mended, previewed and run', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const { page, faults } = await c.signedIn();
  await page.getByRole('link', { name: /^New job/ }).click();
  await page.getByRole('button', { name: 'Job', exact: true }).click();
  await page.getByLabel('Name', { exact: true }).fill('Greet');

  await page.getByRole('button', { name: /^Parameters/ }).click();
  await page.getByRole('button', { name: 'Add parameter' }).click();
  await page.keyboard.type('who');
  await page.keyboard.press('Tab');
  await page.getByLabel('Pattern').fill('^[A-Z]');

  // Of the starter's two steps one stays, and says something else.
  await page.getByRole('button', { name: /^Steps/ }).click();
  await page.getByRole('button', { name: 'Step check root: move, duplicate, delete' }).click();
  await page.getByRole('menuitem', { name: 'Delete' }).click();
  await page.getByText('Step check root is deleted.').waitFor();
  await page.getByLabel('Name', { exact: true }).fill('greet');
  await command(page).fill("printf '%s\\n' 'hello ${{ parameters.who }}'");

  // Broken: it is told at the field, in the text and in the header, and nothing can be saved.
  await errors(page).waitFor();
  expect(await page.getByRole('button', { name: /^Create job/ }).getAttribute('aria-disabled')).toBe('true');
  expect(await command(page).getAttribute('aria-invalid')).toBe('true');
  await errors(page).click();
  const message = page.locator('.cm-message');
  await message.getByText(/single quotes/).waitFor();
  await page.keyboard.press('Control+.');
  await eventually(() => errors(page).count()).toBe(0);
  await eventually(() => command(page).inputValue()).toBe(`printf '%s\\n' "hello \${{ parameters.who }}"`);

  // Previewed on the host, with a value that the parameter takes.
  const preview = page.getByRole('region', { name: 'Preview' });
  await preview.getByLabel(/^who/).fill('world');
  await preview
    .getByText(/does not match the pattern/i)
    .first()
    .waitFor();
  await preview.getByLabel(/^who/).fill('World');
  await eventually(() => rendered(page).textContent()).toContain('World');

  await page.keyboard.press('Control+s');
  await page.waitForURL(/\/jobs\/\d+$/);
  await page.getByRole('heading', { name: 'Definition' }).waitFor();

  // Run: what is missing is told where it is missing, and what was given stands in the run.
  await page.keyboard.press('r');
  const dialog = page.getByRole('dialog', { name: 'Run Greet' });
  await dialog.getByRole('checkbox', { name: /^host / }).check();
  await dialog.getByRole('button', { name: 'Run on 1 target' }).click();
  await dialog.getByText('Is missing').waitFor();
  await eventually(() => dialog.getByLabel(/^who/).evaluate((field) => field.matches(':focus'))).toBe(true);
  await dialog.getByLabel(/^who/).fill('World; touch canary');
  await dialog.getByRole('button', { name: 'What it runs' }).click();
  await eventually(() =>
    dialog.getByRole('region', { name: 'What step greet runs' }).textContent(),
  ).toContain('World; touch canary');
  await dialog.getByRole('button', { name: 'Run on 1 target' }).click();
  await page.locator('.lines').getByText('hello World; touch canary', { exact: true }).waitFor();
  await page.getByRole('gridcell', { name: /^greet: succeeded/ }).waitFor();
  await page.getByRole('region', { name: 'Run', exact: true }).getByText('World; touch canary').waitFor();

  // Another run begins with the values of this one.
  await page.getByRole('link', { name: 'Greet', exact: true }).click();
  await page.getByRole('heading', { name: 'Definition' }).waitFor();
  await page.keyboard.press('r');
  await dialog.getByRole('button', { name: 'Use again' }).click();
  expect(await dialog.getByLabel(/^who/).inputValue()).toBe('World; touch canary');
  expect(faults).toEqual([]);
});

test('YAML is completed from the schema, comments stay until it is saved, and steps move by keyboard', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const { page, faults } = await c.withSession();
  await page.goto(`${c.url}/jobs/new`);
  const text = page.getByLabel('Definition, YAML');
  await text.click();
  await page.keyboard.press('Control+Home');
  await page.keyboard.type('# asked for by the board\n');
  await page.getByText('in sync with the form; comments are not saved').waitFor();
  await page.keyboard.press('Control+End');
  await page.keyboard.type('pri');
  await page.getByRole('option', { name: /^priority/ }).click();
  await page.keyboard.type('5');
  // Over lines that are selected, which the browser would join with inline styles.
  for (let lines = 0; lines < 3; lines += 1) await page.keyboard.press('Shift+ArrowUp');
  await page.keyboard.type('x');
  await eventually(() => text.textContent()).not.toContain('priority');
  await page.keyboard.press('Control+z');
  await page.getByRole('button', { name: 'Job', exact: true }).click();
  await eventually(() => page.getByLabel('Priority').inputValue()).toBe('5');

  await page.getByRole('button', { name: /^Steps/ }).click();
  await page.getByRole('button', { name: /^2 check root/ }).focus();
  await page.keyboard.press('Alt+ArrowUp');
  await page.getByRole('button', { name: /^1 check root/ }).waitFor();
  expect(await text.textContent()).toMatch(/asked for by the board.*check root.*name: list/);
  // What was not saved is asked about, and survives a reload.
  await page.getByRole('link', { name: 'Runs', exact: true }).first().click();
  await page.getByRole('button', { name: 'Keep editing' }).click();
  expect(faults).toEqual([]);
});

test('an output that its step can’t have is told of beside it', async ({ skip }) => {
  if (missing !== undefined) skip(missing);
  const { page, faults } = await c.withSession();
  await page.goto(`${c.url}/jobs/new`);
  await page.getByLabel('Definition, YAML').click();
  await page.keyboard.press('Control+a');
  const step = { name: 'a', type: 'winrm.exec', config: { command: 'x' }, outputs: { v: { json: '' } } };
  await page.keyboard.insertText(JSON.stringify({ name: 'j', steps: [step] }));
  await page.getByRole('button', { name: /^Steps/ }).click();
  const output = page.getByRole('group', { name: 'Output v', exact: true });
  await output.getByRole('button', { name: 'file' }).click();
  await output.getByText('Only a step of type ssh.exec can use a file').waitFor();
  await output.getByRole('button', { name: 'JSON' }).click();
  await eventually(() => output.getByText('can use a file').count()).toBe(0);
  expect(faults).toEqual([]);
});

test('a new job and a copy begin with names that no other job has', async ({ skip }) => {
  if (missing !== undefined) skip(missing);
  const { page, faults } = await c.withSession();
  const text = page.getByLabel('Definition, YAML');
  await page.goto(`${c.url}/jobs/new`);
  await text.getByText('name: Check free space', { exact: true }).waitFor();
  const first = await jobOf(c.system.api, 'Check free space', [{ name: 'a', command: 'true' }]);
  await jobOf(c.system.api, 'Check free space (copy)', [{ name: 'a', command: 'true' }]);
  await page.reload();
  await text.getByText('name: Check free space 2', { exact: true }).waitFor();
  await page.goto(`${c.url}/jobs/new?from=${first.id}`);
  await text.getByText('name: Check free space (copy) 2', { exact: true }).waitFor();
  expect(faults).toEqual([]);
});

test('a parameter that is half typed, or has a choice twice, is told of beside it, and the form goes on', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const { page, faults } = await c.withSession();
  await page.goto(`${c.url}/jobs/new`);
  const text = page.getByLabel('Definition, YAML');
  await text.click();
  await page.keyboard.press('Control+a');
  await page.keyboard.insertText('{ name: j, steps: [], parameters: { env: ');
  // The form reads each of these before it is checked.
  for (const typed of ['}}', '{ type }}}', '{ type: string, enum: [a, b, a] }}}']) {
    await page.keyboard.insertText(typed);
    if (!typed.endsWith('a] }}}')) for (const _ of typed) await page.keyboard.press('Backspace');
  }
  await page.getByRole('button', { name: /^Parameters/ }).click();
  await page.getByRole('button', { name: /^env/ }).click();
  await page.getByLabel('Default', { exact: true }).waitFor();
  await text.getByText('[a, b, a]').waitFor();
  expect(faults).toEqual([]);
});

test('what is typed before the editor is loaded is in it, and typing goes on at the same place', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const { page, faults } = await c.withSession();
  let release = () => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  await page.route(/code-editor/, async (route) => {
    await held;
    await route.continue();
  });
  await page.goto(`${c.url}/jobs/new`);
  const text = page.getByLabel('Definition, YAML');
  await text.click();
  await page.keyboard.press('Control+Home');
  await page.keyboard.insertText('description: begun');
  expect(await text.evaluate((element) => element.tagName)).toBe('TEXTAREA');
  release();
  await page.locator('.cm-content').waitFor();
  await page.keyboard.insertText(' and gone on\n');
  const first = page.locator('.cm-line').first();
  await eventually(() => first.textContent()).toBe('description: begun and gone on');
  expect(faults).toEqual([]);
});

test('a save that came second shows both sides, and merges them', async ({ skip }) => {
  if (missing !== undefined) skip(missing);
  const job = await jobOf(
    c.system.api,
    'Rotate logs',
    [{ name: 'rotate', command: 'echo old', timeout: 5 }],
    {
      description: 'Weekly',
    },
  );
  const [mine, theirs] = [await c.signedIn(), await c.signedIn()];
  for (const { page } of [mine, theirs]) await page.goto(`${c.url}/jobs/${job.id}/edit`);
  await theirs.page.getByLabel('Timeout', { exact: true }).fill('9');
  await theirs.page.getByRole('button', { name: 'Job', exact: true }).click();
  await theirs.page.getByLabel('Description').fill('Daily');
  await theirs.page.keyboard.press('Control+s');
  await theirs.page.getByLabel('Note').fill('Disks are full');
  await theirs.page.getByRole('button', { name: 'Save version 2', exact: true }).click();
  await theirs.page.waitForURL(`${c.url}/jobs/${job.id}`);

  const { page } = mine;
  await page.getByLabel('Timeout', { exact: true }).fill('7');
  await command(page).fill('echo new');
  await page.keyboard.press('Control+s');
  await page.getByRole('button', { name: 'Save version 2', exact: true }).click();
  const dialog = page.getByRole('dialog', { name: 'Version 2 was saved while you were editing' });
  await dialog.getByText(/“Disks are full”/).waitFor();
  expect(await dialog.getByRole('region', { name: 'What they changed' }).textContent()).toContain('Daily');
  const own = await dialog.getByRole('region', { name: 'What you changed' }).textContent();
  expect(own).toContain('echo new');
  // Whoever reads the path need not count from zero.
  expect(own).toContain('steps[0].config.command rotate');
  const keep = dialog.getByRole('button', { name: 'Keep mine, drop theirs' });
  expect(await keep.getAttribute('title')).toBe('2 changes of theirs are overwritten');
  await dialog.getByRole('radio', { name: /^yours/ }).check();
  await dialog.getByRole('button', { name: 'Merge' }).click();
  await page.keyboard.press('Control+s');
  await page.getByRole('button', { name: 'Save version 3', exact: true }).click();
  await page.waitForURL(`${c.url}/jobs/${job.id}`);
  const { definition, version } = (await c.system.api.get<Job>(`/api/v1/jobs/${job.id}`)).body;
  expect(version).toBe(3);
  expect(definition).toMatchObject({
    description: 'Daily',
    steps: [{ config: { command: 'echo new', timeout: 7 } }],
  });
  expect([...mine.faults, ...theirs.faults]).toEqual([]);
});

test('what only the server knows is told before the save; a rule that asks for a note gets one; labels make no version', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const rule = { name: 'Say why', selector: 'ruled=yes', condition: 'note != ""', message: 'Say why.' };
  await c.system.api.made('/api/v1/site-rules', { ...rule, severity: 'error' });
  const { page, faults } = await c.withSession();
  await page.goto(`${c.url}/jobs/new`);
  const text = page.getByLabel('Definition, YAML');
  await text.click();
  await page.keyboard.press('Control+Home');
  await page.keyboard.insertText('category: nowhere\nlabels: { ruled: yes }\n');
  await page.locator('.cm-message').getByText('There is no category of this name').waitFor();
  await page.getByRole('button', { name: '1 error found by the server' }).waitFor();
  await page.getByRole('button', { name: 'Job', exact: true }).click();
  // Saved before the server has checked it.
  const check = /\/api\/v1\/jobs\/check/;
  let letChecksGo = () => {};
  const saved = new Promise<void>((resolve) => {
    letChecksGo = resolve;
  });
  await page.route(check, async (route) => {
    await saved;
    await route.continue();
  });
  await page.getByLabel('Category', { exact: true }).selectOption('general');
  await page.keyboard.press('Control+s');
  await page.getByText('Site rule “Say why”: Say why.', { exact: true }).waitFor();
  letChecksGo();

  // The note is asked for where a rule needs one: without it no job could be created here.
  const ask = page.getByRole('dialog', { name: 'Create job' });
  await eventually(async () => {
    await page.keyboard.press('Control+s');
    return ask.count();
  }).toBe(1);
  expect(await ask.getByText('Say why.').count()).toBe(1);
  await ask.getByLabel('Note').fill('Asked for by the web team');
  await eventually(() => ask.getByText('Say why.').count()).toBe(0);
  await ask.getByRole('button', { name: 'Create job' }).click();
  await page.waitForURL(/\/jobs\/\d+$/);

  await page.getByRole('link', { name: 'Edit', exact: true }).click();
  await page.getByRole('button', { name: 'Job', exact: true }).click();
  await page.getByPlaceholder('env=prod, then Enter').fill('env=test');
  await page.keyboard.press('Enter');
  await page.keyboard.press('Control+s');
  const dialog = page.getByRole('dialog', { name: 'Save', exact: true });
  await dialog.getByText(/^No new version/).waitFor();
  // The key that asked also answers.
  await page.keyboard.press('Control+s');
  await page.waitForURL(/\/jobs\/\d+$/);
  const { body } = await c.system.api.get<Job>(`/api/v1/jobs/${page.url().split('/').at(-1)}`);
  expect(body).toMatchObject({
    version: 1,
    labels: { ruled: 'yes', env: 'test' },
    note: 'Asked for by the web team',
  });
  expect(faults).toEqual([]);
});

test('from a step that failed, its author goes to the step in the editor', async ({ skip }) => {
  if (missing !== undefined) skip(missing);
  const steps = [
    { name: 'first', command: 'true' },
    { name: 'look', command: 'ls /srv/nowhere' },
  ];
  const job = await jobOf(c.system.api, 'Look', steps);
  const run = { targetIds: [c.system.targetId] };
  const { id } = await c.system.api.made<RunDetail>(`/api/v1/jobs/${job.id}/run`, run);
  await c.system.api.runEnds(id);
  const { page, faults } = await c.withSession();
  await page.goto(`${c.url}/runs/${id}`);
  await page.getByRole('link', { name: 'Edit this step' }).click();
  await page.getByRole('button', { name: /^2 look /, expanded: true }).waitFor();
  await eventually(() => command(page).inputValue()).toBe('ls /srv/nowhere');
  expect(faults).toEqual([]);
});

test('a run shows what it was given and what its steps hand on; a secret is in no part of it', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const secret = 'correct-horse-battery';
  const job = await c.system.api.made<Job>('/api/v1/jobs', {
    name: 'Sign in',
    parameters: {
      password: { type: 'string', secret: true },
      reboot: { type: 'boolean', default: false },
    },
    steps: [
      {
        name: 'login',
        type: 'ssh.exec',
        outputs: { session: { pattern: 'session=(\\S+)' } },
        config: { command: 'echo "with ${{ parameters.password }}"; echo session=s-42' },
      },
      { name: 'reboot', type: 'ssh.exec', when: 'parameters.reboot', config: { command: 'echo never' } },
      {
        name: 'use',
        type: 'ssh.exec',
        config: { command: 'echo "using ${{ steps.login.outputs.session }}"' },
      },
    ],
  });
  const { page, faults } = await c.withSession();
  const bodies: string[] = [];
  page.on('request', (request) => bodies.push(request.postData() ?? ''));
  await page.goto(`${c.url}/jobs/${job.id}`);
  await page.getByRole('heading', { name: 'Sign in' }).waitFor();
  await page.keyboard.press('r');
  const dialog = page.getByRole('dialog', { name: 'Run Sign in' });
  await dialog.getByRole('checkbox', { name: /^host / }).check();
  await dialog.getByLabel(/^password/).fill(secret);
  await dialog.getByRole('button', { name: 'What it runs' }).click();
  await dialog.getByText('What is sent').click();
  expect(await dialog.textContent()).not.toContain(secret);
  await dialog.getByRole('button', { name: 'Run on 1 target' }).click();

  await page.locator('.lines').getByText('using s-42', { exact: true }).waitFor();
  await page.getByRole('gridcell', { name: 'reboot: skipped, by its condition' }).click();
  await page.getByText('Skipped: its condition is not met on this host.').waitFor();
  await page.getByText('parameters.reboot', { exact: true }).waitFor();
  await page.getByRole('gridcell', { name: /^login: succeeded/ }).click();
  await page.getByLabel('Handed on to later steps').getByText('s-42').waitFor();
  await page
    .locator('.lines')
    .getByText(/^with /)
    .waitFor();
  expect(await page.content()).not.toContain(secret);
  expect(bodies.filter((body) => body.includes(secret))).toEqual([]);
  expect(faults).toEqual([]);
});

test('the history of runs is narrowed by job, person, state and version, and its address keeps that', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const [one, other] = [
    await jobOf(c.system.api, 'Clean caches', [{ name: 'clean', command: 'true' }]),
    await jobOf(c.system.api, 'Clean logs', [{ name: 'clean', command: 'exit 4' }]),
  ];
  const ended: number[] = [];
  for (const { id } of [one, other, one]) {
    const run = await c.system.api.made<RunDetail>(`/api/v1/jobs/${id}/run`, {
      targetIds: [c.system.targetId],
    });
    await c.system.read(run.id).end();
    ended.push(run.id);
  }
  const { page, faults } = await c.withSession();
  await page.goto(`${c.url}/runs`);
  await page.getByLabel('Search runs by their job').fill('clean');
  await page.getByRole('status').getByText('3, newest first').waitFor();
  await page.getByRole('button', { name: 'failed', exact: true }).click();
  await page.getByRole('status').getByText('1, newest first').waitFor();
  await page.getByRole('link', { name: 'Clean logs' }).waitFor();
  await page.getByRole('button', { name: 'failed', exact: true }).click();
  await page.getByRole('button', { name: 'More', exact: true }).click();
  await page.getByLabel('Started by').fill('nobody');
  await page.getByText('No runs match the filter').waitFor();
  await page.getByLabel('Started by').fill('ADMIN');
  const onTarget = page.getByLabel('On target');
  await onTarget.pressSequentially('nowhere ');
  await page.waitForURL(/createdBy=ADMIN.*target=nowhere/);
  await page.getByText('No runs match the filter').waitFor();
  // More is about to follow.
  expect(await onTarget.inputValue()).toBe('nowhere ');
  await onTarget.fill('');
  await page.getByRole('button', { name: /^Started/ }).click();
  await page.getByRole('status').getByText('3, oldest first').waitFor();
  await page.reload();
  await page.getByRole('status').getByText('3, oldest first').waitFor();
  const numbers = await page.locator('td.name .muted').allTextContents();
  expect(numbers).toEqual(ended.map((id) => `run ${id}`));
  expect(faults).toEqual([]);
});
