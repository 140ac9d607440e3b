// What follows when a run does not go well, in a real browser: an unknown step is decided, a rolling run halts and is run
// again where it failed, a cancel is forced, a run that waits says why.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { RunDetail, Target } from '@opsconductor/protocol';
import type { Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, expect, onTestFinished, test, vi } from 'vitest';
import { ConsoleSystem, eventually, missing } from './console-browser.ts';

vi.setConfig({ testTimeout: 60_000 });

let c: ConsoleSystem;
beforeAll(async () => {
  if (missing === undefined) c = await ConsoleSystem.start();
});
afterEach(() => c?.closePages());
afterAll(() => c?.stop());

interface Definition {
  name: string;
  strategy?: object;
  steps: object[];
}

async function start(definition: Definition, targetIds = [c.system.targetId]): Promise<number> {
  const job = await c.system.api.made<{ id: number }>('/api/v1/jobs', definition);
  const run = await c.system.api.made<RunDetail>(`/api/v1/jobs/${job.id}/run`, { targetIds });
  return run.id;
}

const step = (name: string, command: string, more: object = {}) => ({
  name,
  type: 'ssh.exec',
  config: { command, survive_agent_restart: false },
  ...more,
});
const ended = (page: Page, word: string) => page.locator('.title').getByText(word, { exact: true }).waitFor();

/** An agent that is killed while a step runs, and comes back knowing nothing of how that ended. */
async function cutOff(page: Page): Promise<void> {
  await page.locator('.lines').getByText('begun', { exact: true }).waitFor();
  await c.system.agent.kill9();
  await c.system.agent.start();
}

/** What is covered or cut off if the host and the agent of a held step have names as long as names may be. */
async function crowded(runId: number): Promise<string[]> {
  const { page } = await c.withSession({ width: 1120 });
  await page.route(/\/api\/v1\/runs\/\d+\/(?!events)/, async (route) => {
    const answer = await route.fetch();
    const body = await answer.text();
    await route.fulfill({
      response: answer,
      body: body.replace(/"(targetName|agentName)":"[^"]*"/g, `"$1":"${'long-name-'.repeat(10)}"`),
    });
  });
  await page.goto(`${c.url}/runs/${runId}`);
  await page.getByRole('region', { name: 'Decision' }).getByText('begun', { exact: true }).waitFor();
  await page.locator('nav[aria-label="Steps"] a[aria-current]').waitFor();
  const box = async (selector: string) => {
    const found = await page.locator(selector).first().boundingBox();
    if (found === null) throw new Error(`${selector} is not drawn`);
    return { ...found, right: found.x + found.width };
  };
  const name = await box('.decision td button');
  const started = await box('.decision td:nth-child(2)');
  const answers = await box('.decision .answers');
  const tab = await box('nav[aria-label="Steps"] a[aria-current]');
  const tabs = await box('nav[aria-label="Steps"]');
  return [
    ...(name.right > started.x ? ['when the step started'] : []),
    ...(name.right > answers.x ? ['the answers'] : []),
    ...(tabs.width < tab.width || tab.x < tabs.x ? ['the step’s tab'] : []),
  ];
}

test('an unknown step is decided by a person who says why, and the run goes on', async ({ skip }) => {
  if (missing !== undefined) skip(missing);
  const gate = await c.system.gate();
  const id = await start({
    name: 'Roll the kernel',
    steps: [
      step('roll', `echo begun; ${gate.wait}`, { on_unknown: 'hold' }),
      step('verify', 'echo verified'),
    ],
  });
  const { page, faults } = await c.withSession();
  await page.goto(`${c.url}/runs/${id}`);
  await cutOff(page);

  await page.getByRole('heading', { name: '1 host is unknown. Decide what happened on it.' }).waitFor();
  await page.getByRole('gridcell', { name: 'roll: unknown, held' }).waitFor();
  // What it wrote last stands beside the question.
  await page.getByRole('region', { name: 'Decision' }).getByText('begun', { exact: true }).waitFor();
  await page.getByText('Step 1 counts as succeeded on the host; one step still follows.').first().waitFor();

  // In the list of runs, too, they are not left out.
  await page.goto(`${c.url}/runs?targetId=${c.system.targetId}`);
  await page.getByRole('button', { name: /^on host.*: remove this filter/ }).waitFor();
  await page
    .getByRole('row', { name: /Roll the kernel/ })
    .getByRole('img', { name: '1 host: 1 held' })
    .waitFor();
  await page.goto(`${c.url}/runs/${id}`);
  await page.getByRole('region', { name: 'Decision' }).getByText('begun', { exact: true }).waitFor();
  expect(await crowded(id)).toEqual([]);

  // By keys alone: n goes to the question, Enter opens its first answer.
  await page.keyboard.press('n');
  await page.keyboard.press('Enter');
  const dialog = page.getByRole('dialog');
  const decide = dialog.getByRole('button', { name: 'Count step 1 as succeeded on 1 host' });
  await decide.click();
  await dialog.getByText('Say why: anyone who reads the run later has only this to go on.').waitFor();
  await dialog.getByLabel('Note').fill('uname says that the new kernel runs.');
  await decide.click();

  await ended(page, 'succeeded');
  await page.getByRole('gridcell', { name: 'verify: succeeded' }).waitFor();
  await page.getByRole('gridcell', { name: /^roll: succeeded, .*decided$/ }).click();
  await page.getByText('Decided: it counts as succeeded.').waitFor();
  await page.getByText(/^admin decided at .* that it counts as succeeded: “uname says/).waitFor();
  await eventually(() => page.getByRole('region', { name: 'Decision' }).count()).toBe(0);
  expect(faults).toEqual([]);
});

test('a decision that somebody else has made meanwhile is refused, and says what is so now', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const gate = await c.system.gate();
  const id = await start({
    name: 'Drain the pool',
    steps: [step('drain', `echo begun; ${gate.wait}`, { on_unknown: 'hold' })],
  });
  const { page, faults } = await c.withSession();
  await page.goto(`${c.url}/runs/${id}`);
  await cutOff(page);
  await page.getByRole('button', { name: 'It succeeded, continue…' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByLabel('Note').fill('Looked.');
  const other = await c.system.api.post(`/api/v1/runs/${id}/decisions`, {
    decision: 'failed',
    note: 'It did not.',
  });
  expect(other.status).toBe(200);
  await dialog.getByRole('button', { name: /^Count step 1/ }).click();
  await dialog.getByText('Nothing was decided.').waitFor();
  await dialog.getByText('There is nothing left to decide here.').waitFor();
  await dialog.getByRole('button', { name: 'Close', exact: true }).last().click();
  await ended(page, 'failed');
  await page.getByText(/that it counts as failed: “It did not.”/).waitFor();
  expect(faults).toEqual([]);
});

test('a rolling run halts at its limit, and is run again on the host that failed', async ({ skip }) => {
  if (missing !== undefined) skip(missing);
  const { body: known } = await c.system.api.get<Target>(`/api/v1/targets/${c.system.targetId}`);
  const { segmentId, host, port, credentialId, hostKeys } = known;
  const made = ['web-1', 'web-2', 'web-3'].map((name) =>
    c.system.api.made<Target>('/api/v1/targets', {
      segmentId,
      name,
      host,
      port,
      credentialId,
      hostKeyFingerprint: hostKeys[0]?.fingerprint,
    }),
  );
  const targets = (await Promise.all(made)).map((target) => target.id);
  const repaired = join(c.system.sshd.dir, 'repaired');
  const id = await start(
    {
      name: 'Patch in waves',
      strategy: { batches: [1], max_failures: 0, order: 'name' },
      steps: [step('patch', `test -e ${repaired} && echo patched`)],
    },
    targets,
  );
  const { page, faults } = await c.withSession();
  await page.goto(`${c.url}/runs/${id}`);
  await ended(page, 'failed');
  await page.getByText('Halted.').waitFor();
  await page.getByText('2 hosts were cancelled before they started.').waitFor();
  await page.getByRole('img', { name: '3 batches: 1 done, 2 stopped' }).waitFor();
  await page.getByText('batch 1 of 3 (1 host)').waitFor();

  await writeFile(repaired, '');
  await page.keyboard.press('r');
  const dialog = page.getByRole('dialog');
  // What failed is what one most likely wants.
  await dialog.getByRole('button', { name: 'Run again on 1 host' }).click();
  await page.getByRole('link', { name: `run ${id}`, exact: true }).waitFor();
  await ended(page, 'succeeded');
  await page.locator('.lines').getByText('patched', { exact: true }).waitFor();
  // And back: the first run names the second.
  const again = Number(/runs\/(\d+)/.exec(page.url())?.[1]);
  await page.getByRole('link', { name: `run ${id}`, exact: true }).click();
  await page.getByRole('link', { name: `run ${again}`, exact: true }).waitFor();
  expect(faults).toEqual([]);
});

test('arrow keys lead to every host and step of a run, Enter opens what they came to, and rows wait meanwhile', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const { body: known } = await c.system.api.get<Target>(`/api/v1/targets/${c.system.targetId}`);
  const { segmentId, host, port, credentialId, hostKeys } = known;
  const targets = [];
  for (const name of ['db-1', 'db-2']) {
    const hostKeyFingerprint = hostKeys[0]?.fingerprint;
    const fields = { segmentId, name, host, port, credentialId, hostKeyFingerprint };
    targets.push((await c.system.api.made<Target>('/api/v1/targets', fields)).id);
  }
  const gate = await c.system.gate();
  const id = await start(
    { name: 'By keys alone', steps: [step('look', `echo begun; ${gate.wait}`), step('leave', 'true')] },
    targets,
  );
  const { page, faults } = await c.withSession();
  await page.goto(`${c.url}/runs/${id}`);
  await page.locator('.lines').getByText('begun', { exact: true }).waitFor();
  await eventually(() => page.getByRole('gridcell', { name: /^look: running/ }).count()).toBe(2);
  const focused = (what: string) => page.evaluate(`document.activeElement.${what}`);
  // Of all its cells Tab finds one.
  await page.getByRole('textbox', { name: 'Filter hosts' }).focus();
  const stops: unknown[] = [];
  for (let tab = 0; tab < 4; tab += 1) {
    await page.keyboard.press('Tab');
    stops.push(await focused('getAttribute("role")'));
  }
  expect(stops.filter((role) => role === 'gridcell')).toHaveLength(1);
  await page.locator('.host [tabindex="0"]').focus();
  const group = page.getByRole('gridcell', { name: /2 running/ });
  const second = (await page.locator('.host .name-cell').nth(1).textContent())?.trim();
  await page.keyboard.press('ArrowUp');
  await page.keyboard.press('ArrowUp');
  await eventually(() => group.evaluate((cell) => cell.matches(':focus'))).toBe(true);
  for (const [key, comesTo] of [
    ['ArrowDown', /^db-/],
    ['ArrowRight', /^0:/],
    ['ArrowUp', /2 running/],
    ['ArrowDown', /^0:/],
    ['ArrowDown', /^0:/],
    ['ArrowRight', /^$/],
    ['ArrowRight', /^$/],
  ] as const) {
    await page.keyboard.press(key);
    await eventually(() => focused('innerText.trim()')).toMatch(comesTo);
  }
  // From a row that is no longer wholly in view, too.
  await page.locator('.host .name-cell').first().focus();
  const list = page.locator('.matrix .rows');
  const height = await list.evaluate((rows) => {
    const [head, row] = [rows.querySelector('.head'), rows.querySelector('.host')];
    return `${(head?.clientHeight ?? 0) + 1.5 * (row?.clientHeight ?? 0)}px`;
  });
  await list.evaluate((rows, px) => rows.style.setProperty('height', px), height);
  await eventually(() => group.getAttribute('tabindex')).toBe('0');
  await page.keyboard.press('ArrowDown');
  await eventually(() => focused('innerText.trim()')).toBe(second);
  await list.evaluate((rows) => rows.style.removeProperty('height'));
  await page.keyboard.press('ArrowRight');
  await page.keyboard.press('ArrowRight');
  const cell = () => focused('getAttribute("aria-label")');
  await eventually(cell).toMatch(/^leave: pending/);
  await page.keyboard.press('Enter');
  await page.getByRole('region', { name: `Output of ${second}, step 2, leave` }).waitFor();
  // Both end, and stay where they are while the focus is there.
  for (const _ of targets) await gate.open();
  await ended(page, 'succeeded');
  await eventually(cell).toMatch(/^leave: succeeded/);
  await page.locator('.matrix').getByText('0 running, 2 no longer').waitFor();
  await page.getByRole('textbox', { name: 'Filter hosts' }).focus();
  await page
    .locator('.matrix')
    .getByText(/2 succeeded/)
    .first()
    .waitFor();
  expect(faults).toEqual([]);
});

test('a retried step shows each attempt with its own output, and when the next comes', async ({ skip }) => {
  if (missing !== undefined) skip(missing);
  const flag = join(c.system.sshd.dir, 'second-try');
  const id = await start({
    name: 'Try twice',
    steps: [
      step(
        'flaky',
        `if test -e ${flag}; then echo second; exit 4; else touch ${flag}; echo first; exit 3; fi`,
        {
          retry: { attempts: 3, delay: 0, max_delay: 3600, backoff: 1 },
        },
      ),
      step('never', 'true'),
    ],
  });
  const { page, faults } = await c.withSession();
  await page.goto(`${c.url}/runs/${id}`);
  await ended(page, 'failed');
  await page.getByRole('gridcell', { name: 'flaky: failed, exit 4, attempt 3' }).waitFor();
  const attempts = page.getByRole('navigation', { name: 'Attempts' });
  await attempts.getByRole('link', { name: 'Attempt 3, exit 4, agent-a' }).waitFor();
  await attempts.getByRole('link', { name: 'Attempt 1, exit 3, agent-a' }).click();
  await page.locator('.lines').getByText('first', { exact: true }).waitFor();
  await page.getByText('Attempt 1 of 3.').waitFor();
  expect(page.url()).toContain('attempt=1');
  expect(faults).toEqual([]);

  // As if it had run three days ago.
  await c.system.sql`update job_run_steps set attempt_day = current_date - 3 where job_run_id = ${id}`;
  await c.system
    .sql`update job_run_step_attempts set attempt_day = current_date - 3 where job_run_id = ${id}`;
  await c.system.sql`update output_retention set kept_from = current_date - 2`;
  await page.reload();
  await page.getByText('Output expired.').waitFor();
  await page.getByText('this installation keeps output from').waitFor();
  await c.system.sql`update output_retention set kept_from = '-infinity'`;
});

test('of an attempt that is over the page follows nothing, and its lines have the times of its own beginning', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const gate = await c.system.gate();
  const flag = join(c.system.sshd.dir, 'once-tried');
  const again = { retry: { attempts: 2, delay: 0, max_delay: 3600, backoff: 1 } };
  const command = `if test -e ${flag}; then echo second; ${gate.wait}; else touch ${flag}; echo first; exit 3; fi`;
  const id = await start({ name: 'Try once more', steps: [step('flaky', command, again)] });
  const { page, faults } = await c.withSession();
  await page.goto(`${c.url}/runs/${id}`);
  await page.locator('.lines').getByText('second', { exact: true }).waitFor();
  await page.locator('.live').getByText('Following').waitFor();
  // As where a day passed until somebody had the step tried again.
  await c.system.sql`
    update job_run_step_attempts set started_at = '2026-11-20T02:14:07.000Z'
     where job_run_id = ${id} and epoch = 1`;
  await page.goto(`${c.url}/runs/${id}?attempt=1`);
  await page.locator('.lines').getByText('first', { exact: true }).waitFor();
  await page.locator('.lines time[title^="20 Nov 2026, 02:14:"]').waitFor();
  await page.locator('.live').getByText('exit 3').waitFor();
  expect(await page.locator('.live').textContent()).not.toMatch(/Following|Waiting|pause/);
  await gate.open();
  await ended(page, 'succeeded');
  expect(faults).toEqual([]);
});

test('a cancel that no agent confirms can be forced, and says what becomes unknown', async ({ skip }) => {
  if (missing !== undefined) skip(missing);
  const gate = await c.system.gate();
  const id = await start({
    name: 'Stuck',
    steps: [step('stuck', `echo begun; ${gate.wait}`), step('after', 'true')],
  });
  const { page, faults } = await c.withSession();
  await page.goto(`${c.url}/runs/${id}`);
  await page.locator('.lines').getByText('begun', { exact: true }).waitFor();
  c.system.agent.signal('SIGSTOP');
  await page.keyboard.press('c');
  await page.getByRole('button', { name: `Cancel run ${id}` }).click();
  await page.getByText('1 host has not confirmed yet.').waitFor();
  // The run may tell of the cancel before its request is answered and the dialog, in which keys rest, has closed.
  await page.getByRole('dialog').waitFor({ state: 'hidden' });
  await page.keyboard.press('c');
  await page.getByText('What was given to an agent on 1 host ends unknown at once').waitFor();
  await page.getByRole('button', { name: `Force-cancel run ${id}` }).click();
  await ended(page, 'unknown');
  await page
    .getByText(/^What happened on the host isn’t known. admin forced the cancel while the step ran/)
    .waitFor();
  await page.getByText('The cancel was forced while a step ran, without waiting for its agent.').waitFor();
  c.system.agent.signal('SIGCONT');
  await gate.open();
  expect(faults).toEqual([]);
});

test('a step whose agent is not heard is not called followed, and what it printed to nobody not complete', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const gate = await c.system.gate();
  const id = await start({ name: 'Unheard', steps: [step('unheard', `echo begun; ${gate.wait}`)] });
  const { page, faults } = await c.withSession();
  await page.goto(`${c.url}/runs/${id}`);
  await page.locator('.lines').getByText('begun', { exact: true }).waitFor();
  await page.locator('.live').getByText('Following').waitFor();
  await c.system.agent.kill9();
  const unheard = page.getByRole('region', { name: 'No contact' });
  await unheard.getByText('No contact with the agent of 1 host.').waitFor();
  await unheard
    .getByText(/has the step, but has lost contact with the server.*Last contact.*Its time is up at/)
    .waitFor();
  await page.getByRole('gridcell', { name: 'unheard: running, no contact with its agent' }).waitFor();
  await page
    .locator('.live')
    .getByText(/^No contact since/)
    .waitFor();
  await page.locator('.live').getByText('as far as its agent sent it').waitFor();
  expect(await page.locator('.live').getByText('Following').count()).toBe(0);

  await c.system.agent.start();
  await ended(page, 'unknown');
  await page
    .locator('.live')
    .getByText('as far as its agent received it; it may have printed more')
    .waitFor();
  expect(await unheard.count()).toBe(0);
  await gate.open();
  expect(faults).toEqual([]);
});

test('what may still run of a run that has ended unknown is stopped, and the page tells once it is', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const gate = await c.system.gate();
  const id = await start({ name: 'Silent', steps: [step('silent', `echo begun; ${gate.wait}`)] });
  const { page, faults } = await c.withSession();
  await page.goto(`${c.url}/runs/${id}`);
  await page.locator('.lines').getByText('begun', { exact: true }).waitFor();
  c.system.agent.signal('SIGSTOP');
  // Not before: an agent that has little processor time may be silent for as long.
  await c.system.sql`update segments set unknown_after_s = 2`;
  onTestFinished(async () => void (await c.system.sql`update segments set unknown_after_s = default`));
  await ended(page, 'unknown');
  await page.getByRole('button', { name: 'Stop what may still be running' }).waitFor();
  // At the run and at its step, in the list of runs, and everywhere in words: since when it is silent.
  const since = /has been silent since \d{1,2} [A-Z][a-z]{2} \d{4}, \d\d:\d\d:\d\d UTC/;
  await eventually(() => page.locator('main').getByText(since).count()).toBeGreaterThan(1);
  expect(await page.getByText(/silent since \d{4}-/).count()).toBe(0);
  await page.keyboard.press('c');
  const dialog = page.getByRole('dialog');
  await dialog.getByText('The run keeps its outcome; what is found is added to the attempts.').waitFor();
  await dialog.getByRole('button', { name: `Stop what may still be running of run ${id}` }).click();
  await page.getByText('Agents are still being told to stop what may still be running.').waitFor();
  await eventually(() => page.getByRole('button', { name: 'Stop what may still be running' }).count()).toBe(
    0,
  );
  c.system.agent.signal('SIGCONT');
  await page
    .getByText('Agents are still being told to stop what may still be running.')
    .waitFor({ state: 'hidden' });
  await ended(page, 'unknown');
  expect(faults).toEqual([]);
});

test('a run that waits says why and leads to where something can be done, until it goes on', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  await c.system.agent.stop();
  const { segmentId, host, credentialId } = (
    await c.system.api.get<Target>(`/api/v1/targets/${c.system.targetId}`)
  ).body;
  const fields = { segmentId, name: 'web-later', host, credentialId };
  const later = await c.system.api.made<Target>('/api/v1/targets', fields);
  const both = { name: 'Wait at two places', steps: [step('hello', 'echo hello')] };
  const apart = await start(both, [c.system.targetId, later.id]);
  // As where one host is at a step already that not every agent can take.
  await c.system.sql`
    update job_run_steps st set needs = '{server_files}' from job_run_targets tr
     where tr.id = st.target_run_id and tr.target_id = ${later.id}`;
  const id = await start({ name: 'Wait for an agent', steps: [step('hello', 'echo hello')] });
  const { page, faults } = await c.withSession();
  await page.goto(`${c.url}/runs/${id}`);
  const why = page.getByRole('region', { name: 'Why waiting' });
  await why.getByText('The only agent in segment “dmz” is offline.').waitFor();
  await why.getByText(/must start by/).waitFor();
  expect(await why.getByRole('link', { name: 'Agents of dmz' }).getAttribute('href')).toMatch(
    /^\/agents\?segmentId=/,
  );
  await c.system.api.made('/api/v1/segments', { name: 'elsewhere' });
  await why.getByRole('link', { name: 'Agents of dmz' }).click();
  await page.getByRole('region', { name: 'Segment dmz' }).waitFor();
  const other = page.getByRole('region', { name: 'Segment elsewhere' });
  expect(await other.count()).toBe(0);
  await page.getByRole('link', { name: 'All segments' }).click();
  await other.waitFor();
  await page.getByRole('textbox', { name: 'Filter segments and agents' }).fill('elsew');
  await page.getByRole('region', { name: 'Segment dmz' }).waitFor({ state: 'detached' });
  // The way back and forth keeps it, as a reload does.
  await page.reload();
  await other.waitFor();
  expect(await page.getByRole('region', { name: 'Segment dmz' }).count()).toBe(0);
  await page.goto(`${c.url}/runs/${apart}`);
  await eventually(() => why.getByText('The only agent in segment “dmz” is offline.').count()).toBe(2);
  await c.system.api.made(`/api/v1/executor/cancel/${apart}`);
  await ended(page, 'cancelled');
  await page.goto(`${c.url}/runs/${id}`);
  await why.waitFor();
  // The queue says the same of the segment, and that nothing else has to do with it.
  await page.getByRole('link', { name: 'Runs', exact: true }).first().click();
  await page.getByRole('link', { name: 'Queue', exact: true }).click();
  const dmz = page.getByRole('row', { name: /^dmz / });
  await dmz.getByText(/^no agent for /).waitFor();
  await page
    .getByRole('list', { name: 'What is stuck' })
    .getByText(/^Segment “dmz”: 1 step is ready, but no agent .* is offline\.$/)
    .waitFor();
  await page.getByRole('row', { name: /^elsewhere idle/ }).waitFor();
  await c.system.agent.start();
  await page.getByText('nothing is stuck').waitFor();
  await dmz.getByText('idle').waitFor();
  await page.goto(`${c.url}/runs/${id}`);
  await ended(page, 'succeeded');
  await eventually(() => why.count()).toBe(0);
  expect(faults).toEqual([]);
});
