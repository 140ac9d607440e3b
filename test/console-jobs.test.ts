// Jobs in the console, as those who write and run them go about it: from nothing to a run, from a mistake to its mending,
// from one version to another and back.
import { readFile } from 'node:fs/promises';
import type { Job, RunDetail } from '@opsconductor/protocol';
import type { Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { ConsoleSystem, eventually, missing } from './console-browser.ts';

vi.setConfig({ testTimeout: 60_000 });

let c: ConsoleSystem;
beforeAll(async () => {
  if (missing === undefined)
    c = await ConsoleSystem.start([], { serverEnvironment: { OPSCONDUCTOR_DETECT_SECRETS: 'true' } });
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
  const { page, faults } = await c.signedIn();
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
  const { page, faults } = await c.signedIn();
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

test('what is typed before the editor is loaded is in it, and typing goes on at the same place', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const { page, faults } = await c.signedIn();
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
  const job = await jobOf('Rotate logs', [{ name: 'rotate', command: 'echo old', timeout: 5 }], {
    description: 'Weekly',
  });
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
  const { page, faults } = await c.signedIn();
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

test('two versions are compared, the earlier one is brought back, and a tag of it runs', async ({ skip }) => {
  if (missing !== undefined) skip(missing);
  const job = await jobOf('Report', [{ name: 'report', command: 'echo first' }]);
  await saveVersion(job, [{ name: 'report', command: 'echo second' }], 1);
  await c.system.api.put(`/api/v1/jobs/${job.id}/tags/good`, { version: 1 });
  const { page, faults } = await c.signedIn();
  await page.goto(`${c.url}/jobs/${job.id}/versions`);
  await page.getByLabel('Compare version 1').check();
  await page.getByLabel('Compare version 2').check();
  await page.getByRole('button', { name: 'Compare 1 with 2' }).click();
  await page.getByText('echo first').first().waitFor();
  await page.getByText('echo second').first().waitFor();

  await page.goto(`${c.url}/jobs/${job.id}/versions`);
  await page.getByRole('button', { name: 'Roll back to version 1' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Save as version 3' }).click();
  await page.getByRole('link', { name: 'Version 3', exact: true }).waitFor();
  // An old version can’t be corrected: who rolls back is told which rule refuses it, and what to do instead.
  const rule = { name: 'Closed', condition: 'job.name != "Report"', message: 'Reports are frozen' };
  const { id: ruleId } = await c.system.api.made<{ id: number }>('/api/v1/site-rules', rule);
  await page.getByRole('button', { name: 'Roll back to version 2' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Save as version 4' }).click();
  const refusal = page.getByRole('dialog').getByRole('alert');
  await refusal.getByText(/Site rule “Closed”: Reports are frozen\. Edit the job instead, or ask/).waitFor();
  expect(await refusal.textContent()).not.toContain('Correct it');
  await page.getByRole('dialog').getByRole('button', { name: 'Cancel' }).click();
  expect((await c.system.api.send('DELETE', `/api/v1/site-rules/${ruleId}`)).status).toBe(204);
  await page.goto(`${c.url}/jobs/${job.id}`);
  await page.getByRole('button', { name: 'YAML', exact: true }).click();
  const text = page.getByRole('region', { name: 'Definition as YAML' });
  expect(await text.textContent()).not.toMatch(/on_unknown|timeout/);
  await page.getByLabel('Defaults').check();
  await text.getByText('on_unknown: fail').waitFor();
  await text.getByText('timeout: 300').waitFor();
  // As this server is set, for jobs that do not say it: of a version as of the job.
  await text.getByText('detect_secrets: true').waitFor();
  await page.getByText('masked if recognized by form (server default)').waitFor();
  await page.goto(`${c.url}/jobs/${job.id}/versions/1`);
  await page.getByRole('button', { name: 'YAML', exact: true }).click();
  expect(await text.textContent()).not.toContain('detect_secrets');
  await page.getByLabel('Defaults').check();
  await text.getByText('detect_secrets: true').waitFor();

  await page.goto(`${c.url}/jobs/${job.id}`);
  await page.getByRole('button', { name: /^Run…/ }).waitFor();
  await page.keyboard.press('r');
  const dialog = page.getByRole('dialog', { name: 'Run Report' });
  await dialog.getByRole('checkbox', { name: /^host / }).check();
  await dialog.getByLabel('Version').selectOption('good');
  await dialog.getByRole('button', { name: 'Run on 1 target' }).click();
  await page.locator('.lines').getByText('first', { exact: true }).waitFor();
  await page.getByText('as good').waitFor();
  // Whoever has just saved a version is told that it is not the one that runs again.
  await page.getByRole('region', { name: 'Run', exact: true }).getByText('succeeded').first().waitFor();
  await page.getByRole('button', { name: 'Run again…' }).click();
  await page.getByRole('dialog').getByText('The job is at version 3 now.').waitFor();
  expect(faults).toEqual([]);
});

test('from a step that failed, its author goes to the step in the editor', async ({ skip }) => {
  if (missing !== undefined) skip(missing);
  const steps = [
    { name: 'first', command: 'true' },
    { name: 'look', command: 'ls /srv/nowhere' },
  ];
  const job = await jobOf('Look', steps);
  const run = { targetIds: [c.system.targetId] };
  const { id } = await c.system.api.made<RunDetail>(`/api/v1/jobs/${job.id}/run`, run);
  await c.system.api.runEnds(id);
  const { page, faults } = await c.signedIn();
  await page.goto(`${c.url}/runs/${id}`);
  await page.getByRole('link', { name: 'Edit this step' }).click();
  await page.getByRole('button', { name: /^2 look /, expanded: true }).waitFor();
  await eventually(() => command(page).inputValue()).toBe('ls /srv/nowhere');
  expect(faults).toEqual([]);
});

test('of a deleted job, what its runs have done can be read until the last of them is purged', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const job = await jobOf('Sweep', [{ name: 'sweep', command: 'echo by hand' }]);
  const run = { targetIds: [c.system.targetId] };
  const { id } = await c.system.api.made<RunDetail>(`/api/v1/jobs/${job.id}/run`, run);
  await c.system.api.runEnds(id);
  await saveVersion(job, [{ name: 'sweep', command: 'echo by broom' }], 1);
  const { page, faults } = await c.signedIn();
  await page.goto(`${c.url}/jobs/${job.id}`);
  await page.getByRole('button', { name: 'Delete…' }).waitFor();
  expect((await c.system.api.send('DELETE', `/api/v1/jobs/${job.id}`)).status).toBe(204);

  await page.goto(`${c.url}/runs/${id}`);
  await page.getByText(`run ${id}, of a deleted job`).waitFor();
  await page.locator('.meta').getByRole('link', { name: '1', exact: true }).click();
  await page.getByRole('region', { name: 'Definition of version 1' }).getByText('echo by hand').waitFor();
  await page.getByText(/^Deleted .+ by .+\./).waitFor();
  await page.getByRole('heading', { name: 'Sweep', level: 1 }).waitFor();
  expect(await page.title()).toBe('Sweep (deleted) · OpsConductor');
  await page.getByRole('link', { name: 'Compare with 2' }).click();
  await page.getByText('echo by broom').first().waitFor();
  const parts = page.getByRole('navigation', { name: 'Parts of the job' });
  await parts.getByRole('link', { name: 'Versions' }).click();
  await page.getByRole('link', { name: 'Version 2', exact: true }).waitFor();
  await parts.getByRole('link', { name: 'History' }).click();
  await page.getByRole('region', { name: 'History' }).getByText('Saved version 2').waitFor();
  await parts.getByRole('link', { name: 'Definition' }).click();
  await page.getByRole('region', { name: 'Definition of version 2, the last' }).waitFor();
  expect(await page.getByRole('button', { name: /^(Roll back|Name|Run|Move|Delete)/ }).count()).toBe(0);

  await page.getByRole('link', { name: 'Its runs' }).click();
  await page
    .getByRole('link', { name: /^Sweep/ })
    .first()
    .waitFor();
  expect((await c.system.api.send('DELETE', `/api/v1/runs/${id}?purge=true`)).status).toBe(204);
  await page.goto(`${c.url}/jobs/${job.id}/versions/1`);
  await page.getByRole('heading', { name: `There is no job ${job.id}` }).waitFor();
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
  const { page, faults } = await c.signedIn();
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
    await jobOf('Clean caches', [{ name: 'clean', command: 'true' }]),
    await jobOf('Clean logs', [{ name: 'clean', command: 'exit 4' }]),
  ];
  const ended: number[] = [];
  for (const { id } of [one, other, one]) {
    const run = await c.system.api.made<RunDetail>(`/api/v1/jobs/${id}/run`, {
      targetIds: [c.system.targetId],
    });
    await c.system.read(run.id).end();
    ended.push(run.id);
  }
  const { page, faults } = await c.signedIn();
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

test('jobs come back from a file that was downloaded: one is new, two differ and are asked about, and each is as was chosen', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const kept = await jobOf('Web checks', [{ name: 'check', command: 'echo exported' }]);
  const other = await jobOf('Web other', [{ name: 'check', command: 'echo exported' }]);
  const gone = await jobOf('Web restart', [{ name: 'restart', command: 'echo restart' }]);
  const { page, faults } = await c.signedIn();
  await page.goto(`${c.url}/jobs?search=Web`);
  await page.getByRole('link', { name: 'Web restart' }).waitFor();
  await page.getByRole('button', { name: 'Export…' }).click();
  const downloading = page.waitForEvent('download');
  await page.getByRole('button', { name: 'Export 3 jobs' }).click();
  const file = await downloading;
  expect(file.suggestedFilename()).toBe('jobs.yaml');
  const text = await readFile(await file.path(), 'utf8');
  expect(text).toBe(
    (await c.system.api.get(`/api/v1/jobs/export?ids=${kept.id},${other.id},${gone.id}`)).text,
  );
  await c.system.api.send('DELETE', `/api/v1/jobs/${gone.id}`);
  for (const job of [kept, other])
    await saveVersion(job, [{ name: 'check', command: 'echo changed since' }], 1);

  await page.goto(`${c.url}/jobs/import`);
  await page.getByRole('button', { name: 'Paste…' }).click();
  await page.getByLabel('Text of the file').fill(text);
  await page.getByRole('button', { name: 'Use this text' }).click();
  await page.getByLabel('Existing jobs that differ').selectOption('ask');
  await page.getByRole('button', { name: /^Plan/ }).click();

  await page.getByText('2 conflicts to resolve first.').waitFor();
  const apply = page.getByRole('button', { name: 'Create 1 job', exact: true });
  expect(await apply.isDisabled()).toBe(true);
  const search = page.getByRole('searchbox', { name: 'Search jobs' });
  await search.pressSequentially('other ');
  await page.getByRole('button', { name: /Web checks/ }).waitFor({ state: 'detached' });
  // More is about to follow.
  expect(await search.inputValue()).toBe('other ');
  await search.fill('');
  await page.getByRole('button', { name: 'Show only conflicts' }).click();
  await page.getByLabel('What to do with Web checks').selectOption('update');
  await page.getByText('1 conflict to resolve first.').waitFor();
  // It stands in the row of the one that is settled, and nothing is chosen for it yet.
  expect(await page.getByLabel('What to do with Web other').inputValue()).toBe('');
  await page.getByRole('button', { name: /Web other/ }).click();
  const dialog = page.getByRole('dialog', { name: 'Web other' });
  await dialog.getByText('echo changed since').first().waitFor();
  await dialog.getByRole('radio', { name: 'Leave the existing job as it is' }).check();
  await dialog.getByRole('button', { name: 'Use this choice' }).click();
  await page.getByRole('button', { name: 'Create 1 job, update 1' }).click();
  await page.getByText('Imported', { exact: true }).waitFor();

  const { definition, version } = (await c.system.api.get<Job>(`/api/v1/jobs/${kept.id}`)).body;
  expect(version).toBe(3);
  expect(definition.steps[0]?.config).toMatchObject({ command: 'echo exported' });
  expect((await c.system.api.get<Job>(`/api/v1/jobs/${other.id}`)).body.version).toBe(2);
  await page.goto(`${c.url}/jobs?search=Web%20restart`);
  await page.getByRole('link', { name: 'Web restart' }).waitFor();
  expect(faults).toEqual([]);
});

interface ShortStep {
  name: string;
  command: string;
  timeout?: number;
}
const stepsOf = (steps: readonly ShortStep[]) =>
  steps.map(({ name, ...config }) => ({ name, type: 'ssh.exec', config }));

function jobOf(name: string, steps: readonly ShortStep[], more: Record<string, unknown> = {}): Promise<Job> {
  return c.system.api.made<Job>('/api/v1/jobs', { name, ...more, steps: stepsOf(steps) });
}

async function saveVersion({ id, name }: Job, steps: readonly ShortStep[], expectedVersion: number) {
  const reply = await c.system.api.put(`/api/v1/jobs/${id}`, {
    definition: { name, steps: stepsOf(steps) },
    expectedVersion,
  });
  expect(reply.status).toBe(200);
}
