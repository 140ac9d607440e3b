// Steps that move files, in the console: how far one is while it runs, and what became of each file.
import { createHash, randomBytes } from 'node:crypto';
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { ConsoleSystem, missing } from './console-browser.ts';

vi.setConfig({ testTimeout: 120_000, hookTimeout: 240_000 });

let c: ConsoleSystem;
beforeAll(async () => {
  if (missing === undefined) c = await ConsoleSystem.start([], { files: true });
});
afterEach(() => c?.closePages());
afterAll(() => c?.stop());

test('a transfer shows how far it is, and then its files, with those that failed first', async ({ skip }) => {
  if (missing !== undefined) skip(missing);
  const { filesDir, sshd } = c.system;
  const inbox = join(sshd.dir, 'inbox');
  await mkdir(join(inbox, 'site/blocked'), { recursive: true });
  for (const path of [inbox, join(inbox, 'site')]) await chmod(path, 0o777);
  await mkdir(join(filesDir, 'site'));
  await writeFile(join(filesDir, 'site/archive.tar'), randomBytes(4_000_000));
  for (const name of ['blocked', 'index.html', 'style.css'])
    await writeFile(join(filesDir, 'site', name), name);
  const config = {
    local_path: join(filesDir, 'site'),
    remote_path: join(inbox, 'site'),
    // Slow enough to be looked at.
    bandwidth_limit: 400,
  };
  const { page, faults } = await c.signedIn();
  const runId = await c.system.runSteps([{ name: 'publish', type: 'sftp.upload', config }]);
  await page.goto(`${c.url}/runs/${runId}`);
  const progress = page.getByRole('progressbar', { name: 'Progress of the transfer' });
  await progress.waitFor();
  await page.getByText('archive.tar', { exact: true }).waitFor();
  await page
    .getByText(/1 failed, 3 created/)
    .first()
    .waitFor();
  await page.getByText('Files', { exact: true }).waitFor();
  const files = page.locator('details', { has: page.getByText('Files', { exact: true }) });
  const rows = await files.locator('tbody tr').allInnerTexts();
  expect(rows).toHaveLength(4);
  expect(rows[0]).toContain('site/blocked');
  expect(rows[0]).toContain('is a directory');
  expect(await progress.count()).toBe(0);
  expect(faults).toEqual([]);
});

test('the editor has a form for the paths of a transfer', async ({ skip }) => {
  if (missing !== undefined) skip(missing);
  const job = await c.system.api.made<{ id: number }>('/api/v1/jobs', {
    name: 'Publish the site',
    steps: [{ name: 'up', type: 'sftp.sync', config: { local_path: '/srv/a', remote_path: '/var/b' } }],
  });
  const { page, faults } = await c.signedIn();
  await page.goto(`${c.url}/jobs/${job.id}/edit`);
  await page.getByLabel('Path on the agent').first().waitFor();
  expect(await page.getByLabel('Path on the agent').first().inputValue()).toBe('/srv/a');
  expect(await page.getByLabel('Path on the target').first().inputValue()).toBe('/var/b');
  expect(faults).toEqual([]);
});

test('a file is uploaded, used by a step and kept from being deleted; what a step fetched is saved from the run', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const { page, faults } = await c.signedIn();
  await page.goto(`${c.url}/files`);
  await page.getByText('No files yet').waitFor();
  await page.getByRole('button', { name: 'Upload the first file' }).click();
  const bytes = randomBytes(600_000);
  await page
    .getByLabel('File', { exact: true })
    .setInputFiles({ name: 'app-1.4.tar', mimeType: 'application/x-tar', buffer: bytes });
  expect(await page.getByLabel('Name', { exact: true }).inputValue()).toBe('app-1.4.tar');
  await page.getByRole('button', { name: 'Upload', exact: true }).click();
  await page.getByText(createHash('sha256').update(bytes).digest('hex').slice(0, 16)).waitFor();
  const inbox = join(c.system.sshd.dir, 'files');
  await mkdir(inbox);
  await chmod(inbox, 0o777);
  const runId = await c.system.runSteps([
    { name: 'up', type: 'sftp.upload', config: { file: 'app-1.4.tar', remote_path: `${inbox}/` } },
    { name: 'back', type: 'sftp.download', config: { remote_path: `${inbox}/app-1.4.tar`, artifact: true } },
  ]);
  await c.system.until(async () =>
    expect((await c.system.steps(runId))[1]).toMatchObject({ status: 'succeeded' }),
  );
  await page.goto(`${c.url}/runs/${runId}?step=2`);
  const link = page.getByRole('link', { name: 'app-1.4.tar' });
  const [download] = await Promise.all([page.waitForEvent('download'), link.click()]);
  expect(download.suggestedFilename()).toBe('app-1.4.tar');
  expect((await readFile(await download.path())).equals(bytes)).toBe(true);
  await page.goto(`${c.url}/files`);
  await page.getByText('1 job', { exact: true }).waitFor();
  await page.getByRole('button', { name: 'Delete app-1.4.tar' }).click();
  await page.getByText('1 job names it.').waitFor();
  expect(
    await page.getByRole('dialog').getByRole('button', { name: 'Delete app-1.4.tar' }).isDisabled(),
  ).toBe(true);
  expect(faults).toEqual([]);
});
