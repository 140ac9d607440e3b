// The list of jobs and what hangs on it, as a person uses them: narrowed, changed many at a time, made from starters, sorted
// into categories, held to site rules.
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { ConsoleSystem, eventually, missing } from './console-browser.ts';

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
const steps = [{ name: 'hello', type: 'ssh.exec', config: { command: 'echo hello' } }];
const makeJob = (fields: object) => c.system.api.made<Made>('/api/v1/jobs', { steps, ...fields });
const makeCategory = (name: string) => c.system.api.made<Made>('/api/v1/categories', { name });

test('jobs are found by their filters, and changed together once what stands in the way is left out', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  await makeCategory('shop');
  await makeCategory('shop/web');
  for (const [name, category, env] of [
    ['Restart shop', 'shop', 'prod'],
    ['Patch web', 'shop/web', 'prod'],
    ['Warm caches', 'shop/web', 'test'],
  ]) {
    await makeJob({ name, category, labels: { env } });
  }
  const trial = await makeJob({ name: 'Try shop', category: 'shop', labels: { env: 'prod' } });
  await c.system.api.made(`/api/v1/jobs/${trial.id}/state`, { state: 'archived' });

  const { page, faults } = await c.signedIn();
  const names = () => page.getByRole('row').locator('.name a').allTextContents();
  await page.getByRole('link', { name: /^shop ?3/ }).click();
  await eventually(names).toEqual(['Patch web', 'Restart shop', 'Warm caches']);
  await page.getByLabel('Label', { exact: true }).selectOption('env=prod');
  await eventually(names).toEqual(['Patch web', 'Restart shop']);
  // The address alone is the filter.
  await page.reload();
  await eventually(names).toEqual(['Patch web', 'Restart shop']);
  await page.keyboard.press('j');
  await page.keyboard.press('x');
  await page.getByText('1 selected').waitFor();
  await page.getByLabel('State', { exact: true }).selectOption('archived');
  await eventually(names).toEqual(['Try shop']);
  await page.getByRole('checkbox', { name: 'Select Try shop' }).check();
  await page.getByRole('button', { name: 'Change…' }).click();
  await page.getByLabel('Deactivate').check();
  await page.getByText('Job “Try shop” is archived: use restore.').waitFor();
  expect(await page.getByRole('button', { name: /^Deactivate/ }).isDisabled()).toBe(true);
  await page.getByRole('button', { name: 'Leave it out' }).click();
  await page.getByLabel('Note').fill('Closed for the winter');
  await page.getByRole('button', { name: 'Deactivate 1 job' }).click();
  await page.getByText('1 job was deactivated.').first().waitFor();
  const found = await c.system.sql`select name, state from jobs where name like '%shop' order by name`;
  expect(found.map(({ name, state }) => [name, state])).toEqual([
    ['Restart shop', 'inactive'],
    ['Try shop', 'archived'],
  ]);
  await page.goto(`${c.url}/jobs/${trial.id}`);
  await page.getByText('It is archived: nobody can start it.').waitFor();
  expect(faults).toEqual([]);
});

test('a job is made from a starter with a value that nobody who runs it can change', async ({ skip }) => {
  if (missing !== undefined) skip(missing);
  const starter = await makeJob({
    name: 'Patch a site',
    template: true,
    parameters: { site: { type: 'string', title: 'Site' }, token: { type: 'string', secret: true } },
    steps: [{ name: 'say', type: 'ssh.exec', config: { command: 'echo site ${{ parameters.site }}' } }],
  });
  const { page, faults } = await c.withSession();
  await page.goto(`${c.url}/jobs/starters`);
  await page.getByRole('link', { name: 'New job from Patch a site' }).click();
  await page.getByLabel('Name', { exact: true }).fill('Patch Lyon');
  await page.getByLabel('Site').first().fill('lyon');
  await page.getByRole('checkbox', { name: 'Site' }).check();
  await page.getByRole('button', { name: /Create job/ }).click();
  await page.getByRole('heading', { name: 'Patch Lyon' }).waitFor();
  await page.getByText('Made from').waitFor();
  const { id } = (await c.system.sql<Made[]>`select id from jobs where name = 'Patch Lyon'`)[0] ?? { id: 0 };
  const { body: job } = await c.system.api.get<{
    madeFrom: { id: number };
    definition: { parameters: Record<string, { default?: unknown; enum?: unknown[] }> };
  }>(`/api/v1/jobs/${id}`);
  expect(job.madeFrom.id).toBe(starter.id);
  expect(job.definition.parameters.site).toMatchObject({ default: 'lyon', enum: ['lyon'] });
  expect(faults).toEqual([]);
});

test('a category is moved with what lies in it, and deleted once its jobs have moved', async ({ skip }) => {
  if (missing !== undefined) skip(missing);
  await makeCategory('old');
  await makeCategory('old/inner');
  await makeCategory('new');
  await makeJob({ name: 'Left behind', category: 'old/inner' });
  const { page, faults } = await c.withSession();
  await page.goto(`${c.url}/categories`);
  await page.getByRole('button', { name: 'Change old', exact: true }).click();
  await page.getByRole('menuitem', { name: 'Rename or move…' }).click();
  await page.getByLabel('Parent category').selectOption('new');
  await page.getByRole('button', { name: 'Save and move' }).click();
  await page.getByRole('button', { name: 'Change new/old', exact: true }).click();
  await page.getByRole('menuitem', { name: 'Delete…' }).click();
  await page.getByLabel('1 job is in them').selectOption('new');
  await page.getByRole('button', { name: 'Delete 2 categories' }).click();
  await page.getByRole('button', { name: 'Change new/old', exact: true }).waitFor({ state: 'detached' });
  const [left] = await c.system.sql`
    select c.name from jobs j join categories c on c.id = j.category_id where j.name = 'Left behind'`;
  expect(left?.name).toBe('new');
  expect(faults).toEqual([]);
});

test('a site rule shows which jobs break it before it is made, and is kept from then on', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  await makeCategory('strict');
  const two = [...steps, { ...steps[0], name: 'again' }];
  await makeJob({ name: 'Endless', category: 'strict', steps: two });
  await makeJob({ name: 'Bounded', category: 'strict', timeout: 600 });
  const { page, faults } = await c.withSession();
  await page.goto(`${c.url}/jobs/rules/new`);
  await page.getByLabel('Name').fill('Runs end');
  await page.getByLabel('For jobs in').selectOption('strict');
  await page.getByLabel('What must be true').fill('has(job.tiemout');
  await page.getByText(/^Column \d+:/).waitFor();
  await page.getByLabel('What must be true').fill('has(job.timeout)');
  await page.getByLabel('Message if it is broken').fill('Set a timeout: runs here must end.');
  const broken = page.getByRole('region', { name: 'Jobs that break it' });
  await broken.getByRole('link', { name: 'Endless' }).waitFor();
  expect(await broken.getByRole('link').allTextContents()).toEqual(['Endless']);
  await page.getByRole('button', { name: /Create rule/ }).click();
  await page.getByText('version 1').waitFor();
  const refused = await c.system.api.post('/api/v1/jobs', { name: 'More', category: 'strict', steps });
  expect(refused.status).toBe(400);
  expect(refused.text).toContain('Set a timeout: runs here must end.');

  // What one that was there breaks is told with its health, each place of it.
  const perStep = { per: 'step', condition: 'has(step.when)', message: 'Say when the step runs.' };
  await c.system.api.made('/api/v1/site-rules', { name: 'Steps say when', category: 'strict', ...perStep });
  await c.system.sql`update jobs set step_types = '{ssh.exec,telnet.exec}' where name = 'Endless'`;
  await page.goto(`${c.url}/jobs/health`);
  await page
    .getByRole('list', { name: 'What is wrong' })
    .getByText('1 active job uses a step type')
    .waitFor();
  await page.getByRole('row', { name: /Endless .*does not know the step type telnet\.exec/ }).waitFor();
  await page.getByRole('link', { name: 'Endless' }).click();
  const wrong = page.getByRole('list', { name: 'What is wrong with it' }).getByRole('listitem');
  await wrong.filter({ hasText: 'steps[0]' }).waitFor();
  expect(await wrong.filter({ hasText: 'Say when the step runs.' }).count()).toBe(2);
  expect(faults).toEqual([]);
});
