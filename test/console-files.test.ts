// Steps that move files, in the console: how far one is while it runs, and what became of each file.
import { createHash, randomBytes } from 'node:crypto';
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, onTestFinished, test, vi } from 'vitest';
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
  const { page, faults } = await c.withSession();
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
  const { page, faults } = await c.withSession();
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
  const { page, faults } = await c.withSession();
  await page.goto(`${c.url}/files`);
  await page.getByText('No files yet').waitFor();
  await page.keyboard.press('/');
  expect(await page.evaluate<string>('document.activeElement.ariaLabel')).toBe('Search files');
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

test('an upload that was stopped is continued from a new page with the same file, and refused with another', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const { page, faults } = await c.withSession();
  const bytes = randomBytes(9_000_000);
  const name = 'image-12.iso';
  // From the disk: the content given to the browser directly would go through its pipe as text.
  const folder = await mkdtemp(join(tmpdir(), 'opsconductor-uploads-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const chosen = async (which: string, content: Uint8Array) => {
    await mkdir(join(folder, which));
    await writeFile(join(folder, which, name), content);
    return join(folder, which, name);
  };
  const changed = Buffer.from(bytes);
  changed[5] = (changed[5] ?? 0) ^ 1;
  const file = await chosen('same', bytes);
  const other = await chosen('other', changed);
  const shorter = await chosen('shorter', bytes.subarray(1));
  const sent: number[] = [];
  // The network stands still from some place on; from which, depends on the pieces, and these on how fast it was.
  const stands = new Promise<number>((standsAt) =>
    page.route(/\/content\?offset=/, (route) => {
      const offset = Number(new URL(route.request().url()).searchParams.get('offset'));
      sent.push(offset);
      if (offset < 2_000_000) return route.continue();
      standsAt(offset);
    }),
  );
  await page.goto(`${c.url}/files`);
  await page.getByRole('button', { name: /^Upload…/ }).click();
  await page.getByLabel('File', { exact: true }).setInputFiles(file);
  await page.getByRole('button', { name: 'Upload', exact: true }).click();
  const dialog = page.getByRole('dialog');
  const standsAt = await stands;
  const arrived = `${(standsAt / 1e6).toFixed(1)} MB`;
  await dialog.getByText(`${arrived} of 9.0 MB`).waitFor();
  await dialog.getByText(/B\/s, .+ left/).waitFor();
  // It goes on by itself: the only thing to do is to stop it, and the keyboard is there.
  expect(await dialog.getByRole('button', { name: 'Uploading…' }).isDisabled()).toBe(true);
  expect(await page.evaluate<string>('document.activeElement.innerText.trim()')).toBe('Stop');
  await page.getByRole('button', { name: 'Stop' }).click();
  await page.getByText('Stopped').waitFor();
  await page.getByText(/is kept for a day/).waitFor();
  await page.unrouteAll({ behavior: 'ignoreErrors' });
  sent.length = 0;
  await page.route(/\/content\?offset=/, (route) => {
    sent.push(Number(new URL(route.request().url()).searchParams.get('offset')));
    return route.continue();
  });

  // The page is not held up by comparing, and what has arrived in the end is compared with the file, too.
  const threads: string[] = [];
  const finished: unknown[] = [];
  page.on('worker', (thread) => threads.push(thread.url()));
  page.on('request', (request) => {
    if (request.url().endsWith('/finish')) finished.push(request.postDataJSON());
  });
  await page.reload();
  const mine = page.getByRole('region', { name: 'Your unfinished uploads' });
  await mine.getByText(`${arrived} of 9.0 MB`).waitFor();
  await mine.getByText(/^begun .+, kept for another 23 h$/).waitFor();
  await mine.getByRole('button', { name: `Continue the upload of ${name}` }).click();
  const choice = dialog.getByLabel('File', { exact: true });
  await choice.setInputFiles(shorter);
  await dialog
    .getByText('It has 8,999,999 bytes; the upload is of a file of 9,000,000. Choose that one.')
    .waitFor();
  await choice.setInputFiles(other);
  await dialog.getByRole('button', { name: 'Continue' }).click();
  await dialog.getByText(`This is another file: its first ${arrived} are not what was uploaded.`).waitFor();
  expect(sent).toEqual([]);

  // The dialog for new files knows an upload of this name and size, too.
  await dialog.getByRole('button', { name: 'Close', exact: true }).last().click();
  await page.getByRole('button', { name: /^Upload…/ }).click();
  await choice.setInputFiles(file);
  await dialog.getByText('You began to upload a file of this name and size.').waitFor();
  await dialog.getByRole('button', { name: 'Continue' }).click();
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  await page.getByText(sha256.slice(0, 16)).waitFor();
  expect(finished).toEqual([{ sha256 }]);
  expect(threads.length).toBeGreaterThan(0);
  expect(sent[0]).toBe(standsAt);
  await mine.waitFor({ state: 'detached' });
  expect(faults).toEqual([]);
});

test('an upload that loses the network says so, and goes on by itself once the network is back', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const { page } = await c.signedIn();
  const bytes = randomBytes(9_000_000);
  let losses = 0;
  await page.route(/\/content\?offset=/, async (route) => {
    const offset = Number(new URL(route.request().url()).searchParams.get('offset'));
    if (losses > 0 || offset < 2_000_000) return route.continue();
    losses += 1;
    await page.context().setOffline(true);
    await route.abort('internetdisconnected');
  });
  await page.goto(`${c.url}/files`);
  await page.getByRole('button', { name: /^Upload…/ }).click();
  await page
    .getByLabel('File', { exact: true })
    .setInputFiles({ name: 'image-13.iso', mimeType: 'application/octet-stream', buffer: bytes });
  await page.getByRole('button', { name: 'Upload', exact: true }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByText('The upload tries again by itself, for up to 5 min.').waitFor();
  await dialog.getByText('Interrupted at').waitFor();
  await page.context().setOffline(false);
  await page.getByText(createHash('sha256').update(bytes).digest('hex').slice(0, 16)).waitFor();
  await dialog.waitFor({ state: 'detached' });
});

test('an unfinished upload is discarded, and its name is free again', async ({ skip }) => {
  if (missing !== undefined) skip(missing);
  const begun = { name: 'half.bin', size: 1_000 };
  await c.system.api.made('/api/v1/files', begun);
  const { page, faults } = await c.withSession();
  await page.goto(`${c.url}/files`);
  const mine = page.getByRole('region', { name: 'Your unfinished uploads' });
  await mine.getByRole('button', { name: 'Discard the upload of half.bin' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Discard the upload' }).click();
  await mine.waitFor({ state: 'detached' });
  await c.system.api.made('/api/v1/files', begun);
  expect(faults).toEqual([]);
});
