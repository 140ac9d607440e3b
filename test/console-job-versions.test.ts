// What was saved of a job, as people go back to it in the console: earlier versions, a deleted job, a file of jobs.
import { readFile } from 'node:fs/promises';
import type { Job, RunDetail } from '@opsconductor/protocol';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { ConsoleSystem, missing } from './console-browser.ts';
import { jobOf, type ShortStep, stepsOf } from './support/short-jobs.ts';

vi.setConfig({ testTimeout: 60_000 });

let c: ConsoleSystem;
beforeAll(async () => {
  if (missing === undefined)
    c = await ConsoleSystem.start([], { serverEnvironment: { OPSCONDUCTOR_DETECT_SECRETS: 'true' } });
});
afterEach(() => c?.closePages());
afterAll(() => c?.stop());

test('two versions are compared, the earlier one is brought back, and a tag of it runs', async ({ skip }) => {
  if (missing !== undefined) skip(missing);
  const job = await jobOf(c.system.api, 'Report', [{ name: 'report', command: 'echo first' }]);
  const { page, faults } = await c.withSession();
  await page.goto(`${c.url}/jobs/${job.id}/compare`);
  await page.getByText('There is only one version').waitFor();
  await saveVersion(job, [{ name: 'report', command: 'echo second' }], 1);
  await c.system.api.put(`/api/v1/jobs/${job.id}/tags/good`, { version: 1 });
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
  // One that is still to come is not said to be deleted or hidden.
  await page.goto(`${c.url}/jobs/${job.id}/versions/9`);
  await page.getByRole('heading', { name: 'There is no version 9' }).waitFor();
  expect(await page.getByText('deleted').count()).toBe(0);
  const none = page.getByRole('region', { name: 'Version 9' });
  await none.getByRole('link', { name: 'version 3', exact: true }).click();
  await page.getByRole('region', { name: 'Version 3', exact: true }).waitFor();
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

test('of a deleted job, what its runs have done can be read until the last of them is purged', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const job = await jobOf(c.system.api, 'Sweep', [{ name: 'sweep', command: 'echo by hand' }]);
  const run = { targetIds: [c.system.targetId] };
  const { id } = await c.system.api.made<RunDetail>(`/api/v1/jobs/${job.id}/run`, run);
  await c.system.api.runEnds(id);
  await saveVersion(job, [{ name: 'sweep', command: 'echo by broom' }], 1);
  const { page, faults } = await c.withSession();
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

test('jobs come back from a file that was downloaded: one is new, two differ and are asked about, and each is as was chosen', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const kept = await jobOf(c.system.api, 'Web checks', [{ name: 'check', command: 'echo exported' }]);
  const other = await jobOf(c.system.api, 'Web other', [{ name: 'check', command: 'echo exported' }]);
  const gone = await jobOf(c.system.api, 'Web restart', [{ name: 'restart', command: 'echo restart' }]);
  const { page, faults } = await c.withSession();
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

async function saveVersion({ id, name }: Job, steps: readonly ShortStep[], expectedVersion: number) {
  const reply = await c.system.api.put(`/api/v1/jobs/${id}`, {
    definition: { name, steps: stepsOf(steps) },
    expectedVersion,
  });
  expect(reply.status).toBe(200);
}
