// Credentials, and dialogs about them, as a person sees them in the console.
import type { Agent } from '@opsconductor/protocol';
import type { Locator } from 'playwright-core';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { ConsoleSystem, eventually, missing } from './console-browser.ts';
import { passwordSecret, storeCredential } from './support/sealed-credential.ts';

let c: ConsoleSystem;
beforeAll(async () => {
  if (missing === undefined) c = await ConsoleSystem.start();
}, 120_000);
afterEach(() => c?.closePages());
afterAll(() => c?.stop());

test('what uses a credential is told beside it, and a day that it expires on is noted and reminded of', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const { page, faults } = await c.withSession();
  await page.goto(`${c.url}/credentials`);
  await page.getByRole('button', { name: /show uses of key$/i }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByRole('heading', { name: /^Targets that use it \d/ }).waitFor();
  await dialog.getByRole('link', { name: 'host', exact: true }).waitFor();
  await page.keyboard.press('Escape');
  await page.getByRole('button', { name: 'Edit key' }).click();
  await dialog.getByLabel('Expires on').fill('2020-01-31');
  await dialog.getByLabel('For').fill('opens the web servers');
  await dialog.getByRole('button', { name: 'Save' }).click();
  await page.getByText(/^expired .* days ago$/).waitFor();
  // Its bounds are entered again.
  await page.getByRole('button', { name: 'Replace the secret of key' }).click();
  await dialog.getByText('Version 1 is described as: opens the web servers').waitFor();
  await dialog.getByRole('button', { name: 'Cancel' }).click();
  const made = await storeCredential(
    c.system.api,
    c.system.segmentId,
    'described',
    passwordSecret('deploy', 'correct horse'),
  );
  const described = async () =>
    (await c.system.api.get<{ description: string }>(`/api/v1/credentials/${made}`)).body.description;
  const replaceFor = async (hosts: string, meanwhile?: () => Promise<unknown>) => {
    await page.goto(`${c.url}/credentials`);
    await page.getByRole('button', { name: 'Replace the secret of described' }).click();
    await meanwhile?.();
    await dialog.getByRole('textbox', { name: 'User', exact: true }).fill('deploy');
    await dialog.getByRole('textbox', { name: 'Password', exact: true }).fill('correct horse');
    await dialog.getByRole('textbox', { name: 'Hosts' }).fill(hosts);
    await dialog.getByRole('button', { name: 'Seal and save' }).click();
    await dialog.waitFor({ state: 'detached' });
  };
  // What was made of the bounds follows them, and what a person wrote stays.
  await replaceFor('web-*');
  expect(await described()).toBe('deploy on web-*, port 22');
  await replaceFor('db-*');
  expect(await described()).toBe('deploy on db-*, port 22');
  await page.getByRole('button', { name: 'Edit described' }).click();
  await dialog.getByLabel('For').fill('opens the databases');
  await dialog.getByRole('button', { name: 'Save' }).click();
  await dialog.waitFor({ state: 'detached' });
  await replaceFor('*');
  expect(await described()).toBe('opens the databases');

  // What somebody else has changed meanwhile is neither replaced by a new secret nor by what a form was opened with.
  const put = (change: object) => c.system.api.put(`/api/v1/credentials/${made}`, change);
  await replaceFor('db-*', () => put({ description: 'opens the old databases' }));
  // A secret that somebody else has saved meanwhile is replaced only by who has been told of it.
  await page.getByRole('button', { name: 'Replace the secret of described' }).click();
  await dialog.getByRole('textbox', { name: 'User', exact: true }).fill('deploy');
  await dialog.getByRole('textbox', { name: 'Password', exact: true }).fill('battery staple');
  await dialog.getByRole('textbox', { name: 'Hosts' }).fill('db-*');
  const other = await c.withSession();
  await other.page.goto(`${c.url}/credentials`);
  await other.page.getByRole('button', { name: 'Replace the secret of described' }).click();
  const otherDialog = other.page.getByRole('dialog');
  await otherDialog.getByRole('textbox', { name: 'User', exact: true }).fill('deploy');
  await otherDialog.getByRole('textbox', { name: 'Password', exact: true }).fill('horse');
  await otherDialog.getByRole('textbox', { name: 'Hosts' }).fill('db-*');
  await otherDialog.getByRole('button', { name: 'Seal and save' }).click();
  await otherDialog.waitFor({ state: 'detached' });
  await dialog.getByRole('button', { name: 'Seal and save' }).click();
  await dialog.getByText('Version 6 was saved meanwhile').waitFor();
  await dialog.getByRole('button', { name: 'Seal and save' }).click();
  await dialog.waitFor({ state: 'detached' });
  const versionOf = async () =>
    (await c.system.api.get<{ version: number }>(`/api/v1/credentials/${made}`)).body;
  expect(await versionOf()).toMatchObject({ version: 7 });
  expect(await described()).toBe('opens the old databases');
  await page.getByRole('button', { name: 'Edit described' }).click();
  await dialog.getByLabel('Expires on').fill('2031-01-31');
  await put({ description: 'opens nothing' });
  await dialog.getByRole('button', { name: 'Save' }).click();
  await dialog.waitFor({ state: 'detached' });
  expect(await described()).toBe('opens nothing');
  await page.getByRole('button', { name: 'Edit described' }).click();
  await dialog.getByLabel('Expires on').fill('2032-01-31');
  await put({ expiresOn: null });
  await dialog.getByRole('button', { name: 'Save' }).click();
  await dialog.getByText('Expires on is now empty').waitFor();
  await dialog.getByRole('button', { name: 'Save' }).click();
  await dialog.waitFor({ state: 'detached' });
  await page.goto(`${c.url}/credentials`);
  // Those of a revocation are linked to.
  await page.goto(`${c.url}/credentials?toRotate=true`);
  await page.getByText('No credentials to rotate here').waitFor();
  await page.getByRole('link', { name: 'Show all credentials' }).click();
  await page.getByRole('button', { name: 'Edit key' }).waitFor();
  expect(faults).toEqual([]);
});

test('credentials that expire soon are counted in the head, and listed by their day; others say theirs', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const { api, segmentId } = c.system;
  const dayIn = (days: number) => new Date(Date.now() + days * 86_400_000).toISOString().slice(0, 10);
  const days = { 'aged soon': 20, 'aged sooner': 3, 'aged later': 300 };
  for (const [name, inDays] of Object.entries(days)) {
    const id = await storeCredential(api, segmentId, name, passwordSecret('deploy', 'correct horse'));
    expect((await api.put(`/api/v1/credentials/${id}`, { expiresOn: dayIn(inDays) })).status).toBe(200);
  }
  const { page, faults } = await c.withSession();
  await page.goto(`${c.url}/credentials`);
  await page.getByText(`expires ${dayIn(300)}`, { exact: true }).waitFor();
  await page.getByRole('link', { name: /2 expire within 30 days$/ }).click();
  await page.getByRole('button', { name: 'Edit aged sooner' }).waitFor();
  await eventually(() => page.locator('tbody .named b').allTextContents()).toEqual(
    expect.not.arrayContaining(['aged later']),
  );
  const listed = await page.locator('tbody .named b').allTextContents();
  expect(listed.filter((name) => name.startsWith('aged'))).toEqual(['aged sooner', 'aged soon']);
  // The address keeps the filter, and a search among them keeps it, too.
  await page.reload();
  await page.getByRole('button', { name: 'Edit aged soon', exact: true }).waitFor();
  expect(await page.getByRole('button', { name: 'Edit aged later' }).count()).toBe(0);
  await page.getByRole('link', { name: 'Show all' }).click();
  await page.getByRole('button', { name: 'Edit aged later' }).waitFor();
  expect(faults).toEqual([]);
});

test('before a credential is deleted it is said who gives it, and which jobs fail without it', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const { api, segmentId, sql } = c.system;
  const id = await storeCredential(api, segmentId, 'widely used', passwordSecret('deploy', 'correct horse'));
  await api.made('/api/v1/jobs', {
    name: 'Asks for it',
    steps: [
      {
        name: 'ask',
        type: 'ssh.exec',
        config: { command: 'true' },
        connection: { credential: 'widely used' },
      },
    ],
  });
  await sql`update segments set credential_id = ${id} where id = ${segmentId}`;
  const { page, faults } = await c.withSession();
  await page.goto(`${c.url}/credentials`);
  await page.getByRole('button', { name: 'Show uses of widely used' }).waitFor();
  const ask = page.getByRole('table').getByRole('button', { name: 'Delete widely used' });
  const dialog = page.getByRole('dialog');
  const remove = dialog.getByRole('button', { name: 'Delete widely used' });
  await ask.click();
  await dialog.getByText('Used by segment dmz.').waitFor();
  await dialog.getByRole('link', { name: 'Asks for it' }).waitFor();
  expect(await remove.isDisabled()).toBe(true);
  await dialog.getByRole('button', { name: 'Keep it' }).click();

  await sql`update segments set credential_id = null where id = ${segmentId}`;
  await ask.click();
  await dialog.getByText('1 job asks for a credential by this name.').waitFor();
  await dialog.getByRole('link', { name: 'Asks for it' }).waitFor();
  await remove.click();
  await ask.waitFor({ state: 'detached' });
  expect(faults).toEqual([]);
});

test('a form for credentials that can not be loaded says so, and what to do', async ({ skip }) => {
  if (missing !== undefined) skip(missing);
  const { page, faults } = await c.withSession();
  await page.goto(`${c.url}/credentials`);
  // As after an upgrade: what the page was made of is not there any more.
  await page.route('**/assets/CredentialForm*', (route) => route.fulfill({ status: 404 }));
  const add = page.getByRole('button', { name: 'Add credential…' });
  await add.click();
  const dialog = page.getByRole('dialog');
  await dialog.getByText('The form could not be loaded.').waitFor();
  const reloaded = page.waitForEvent('load');
  await dialog.getByRole('button', { name: 'Reload the page' }).click();
  await reloaded;
  await page.unrouteAll();
  await add.click();
  await dialog.getByRole('textbox', { name: 'User', exact: true }).waitFor();
  expect(faults).toEqual([]);
});

test('who signs in waits for the code of no page but the first', async ({ skip }) => {
  if (missing !== undefined) skip(missing);
  const { page } = await c.newPage();
  const scripts = new Map<string, Promise<Buffer>>();
  page.on('response', (response) => {
    if (response.url().endsWith('.js')) scripts.set(response.url(), response.body());
  });
  const loadedBytes = async () =>
    (await Promise.all(scripts.values())).reduce((sum, { length }) => sum + length, 0);
  await page.goto(c.url, { waitUntil: 'networkidle' });
  await page.getByRole('heading', { name: 'Sign in' }).waitFor();
  expect(await loadedBytes()).toBeLessThan(400_000);
  await page.goto(await c.signInLink(), { waitUntil: 'networkidle' });
  await page.getByRole('heading', { name: 'Jobs', exact: true }).waitFor();
  expect([...scripts.keys()].filter((url) => /Page-/.test(url))).toEqual([
    expect.stringMatching(/JobsPage-/),
  ]);
  expect(await loadedBytes()).toBeLessThan(500_000);
});

test('a page that can not be loaded says so, and opens when it is tried again', async ({ skip }) => {
  if (missing !== undefined) skip(missing);
  const { page, faults } = await c.signedIn();
  await page.route('**/assets/AuditPage*', (route) => route.fulfill({ status: 404 }));
  await page.getByRole('link', { name: 'Audit', exact: true }).click();
  await page.getByRole('heading', { name: 'This page can’t be shown' }).waitFor();
  await page.getByText('It could not be loaded.').waitFor();
  await page.getByRole('button', { name: 'Reload the page' }).waitFor();
  expect(await page.title()).toBe('Not loaded · OpsConductor');
  // The other pages are there.
  await page.getByRole('link', { name: 'Credentials', exact: true }).click();
  await page.getByRole('heading', { name: 'Credentials' }).waitFor();
  await page.getByRole('link', { name: 'Audit', exact: true }).click();
  // It tries by itself, too: neither is answered before the button was pressed.
  let answer = () => {};
  const pressed = new Promise<void>((resolve) => (answer = resolve));
  await page.route('**/assets/AuditPage*', (route) => pressed.then(() => route.continue()));
  await page.getByRole('button', { name: 'Try again' }).click();
  answer();
  await page.getByRole('heading', { name: 'Audit', exact: true }).waitFor();
  expect(faults).toEqual([]);
});

test('a page that is opened while the server is away comes once it is back', async ({ skip }) => {
  if (missing !== undefined) skip(missing);
  const { page, faults } = await c.signedIn();
  await page.route('**/assets/AuditPage*', (route) => route.abort());
  await page.getByRole('link', { name: 'Audit', exact: true }).click();
  await page.getByText('It could not be loaded.').waitFor();
  await page.unrouteAll();
  await page.getByRole('heading', { name: 'Audit', exact: true }).waitFor();
  expect(faults).toEqual([]);
});

test('a file picker that is closed without a choice leaves the form as it is, and Escape closes it', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const { page, faults } = await c.withSession();
  await page.goto(`${c.url}/credentials`);
  await page.getByRole('button', { name: 'Add credential…' }).click();
  const form = page.getByRole('dialog', { name: 'Add a credential' });
  const user = form.getByRole('textbox', { name: 'User', exact: true });
  await user.fill('deploy');
  // What browsers say of such a picker.
  await form.locator('input[type="file"]').dispatchEvent('cancel', { bubbles: true });
  await form.getByRole('combobox', { name: 'Kind' }).selectOption('ssh_password');
  expect(await user.inputValue()).toBe('deploy');
  await page.keyboard.press('Escape');
  await page
    .getByRole('dialog', { name: 'Discard what you entered?' })
    .getByText('Discard', { exact: true })
    .click();
  await form.waitFor({ state: 'detached' });
  expect(faults).toEqual([]);
});

test('a target gets a new credential without leaving its form, which keeps what was typed, and opens beside the list', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const { page, faults } = await c.withSession();
  // The segment's credentials, until one is added here.
  let isAdded = false;
  await page.route(/\/api\/v1\/credentials\?/, (route) =>
    isAdded ? route.continue() : route.fulfill({ json: { items: [], nextCursor: null } }),
  );
  await page.goto(`${c.url}/targets`);
  await page.getByRole('button', { name: 'Add target…' }).click();
  const form = page.getByRole('dialog', { name: 'Add a target' });
  await form.getByRole('textbox', { name: 'Name', exact: true }).fill('db-7');
  await form.getByRole('textbox', { name: 'Host', exact: true }).fill('db-7.example.net');
  await form.getByRole('button', { name: 'Add one…' }).click();
  const sealing = page.getByRole('dialog', { name: 'Add a credential' });
  await sealing.getByRole('textbox', { name: 'Name', exact: true }).fill('db key');
  await sealing.getByRole('textbox', { name: 'User', exact: true }).fill('deploy');
  const pem = (kind: string, text: string) => `-----BEGIN ${kind}-----\n${text}\n-----END ${kind}-----\n`;
  await sealing
    .getByRole('textbox', { name: 'Private key' })
    .fill(pem('RSA PRIVATE KEY', 'Proc-Type: 4,ENCRYPTED'));
  await sealing.getByRole('textbox', { name: 'Hosts' }).fill('db-*');
  const passphrase = sealing.getByLabel('Passphrase of the key');
  await sealing.getByRole('button', { name: 'Seal and save' }).click();
  // What is missing is said where it is missing.
  await eventually(() => passphrase.evaluate((one) => one.matches(':focus'))).toBe(true);
  expect(await passphrase.getAttribute('aria-invalid')).toBe('true');
  await passphrase.fill('correct horse');
  isAdded = true;
  await sealing.getByRole('button', { name: 'Seal and save' }).click();
  await sealing.waitFor({ state: 'detached' });
  const chosen = form.getByRole('combobox', { name: 'Credential' });
  await eventually(() => chosen.locator('option:checked').textContent()).toBe('db key');
  expect(await chosen.evaluate((one) => one.matches(':focus'))).toBe(true);
  expect(await form.getByRole('textbox', { name: 'Host', exact: true }).inputValue()).toBe(
    'db-7.example.net',
  );
  await form.getByRole('button', { name: 'Add target' }).click();
  const beside = page.getByRole('complementary', { name: 'Target db-7' });
  await beside.getByText('None seen yet.').waitFor();
  // One goes on there, whatever had the focus before the form.
  await eventually(() => beside.evaluate((one) => one.matches(':focus'))).toBe(true);
  expect(faults).toEqual([]);
});

test('a form that is refused shows its first field with a problem, from the form itself and from the server', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const { page, faults } = await c.withSession();
  await page.setViewportSize({ width: 1000, height: 420 });
  await page.goto(`${c.url}/credentials`);
  await page.getByRole('button', { name: 'Add credential…' }).click();
  const form = page.getByRole('dialog', { name: 'Add a credential' });
  const [name, hosts] = ['Name', 'Hosts'].map((of) => form.getByRole('textbox', { name: of, exact: true }));
  const isShown = (field: typeof name) =>
    field?.evaluate((one) => {
      const { top, bottom } = one.getBoundingClientRect();
      const body = one.closest('.body')?.getBoundingClientRect();
      return one.matches(':focus') && body !== undefined && top >= body.top && bottom <= body.bottom;
    });
  await form.getByRole('combobox', { name: 'Kind' }).selectOption('ssh_password');
  await name?.fill('first');
  await form.getByRole('textbox', { name: 'User', exact: true }).fill('deploy');
  await form.getByRole('textbox', { name: 'Password', exact: true }).fill('correct horse');
  await hosts?.fill('web*[');
  expect(await isShown(name)).toBe(false);
  await name?.focus();
  await form.getByRole('button', { name: 'Seal and save' }).click();
  await eventually(() => isShown(hosts)).toBe(true);

  await page.route('**/api/v1/credentials', (route) => {
    if (route.request().method() !== 'POST') return route.continue();
    const message = 'There is one of that name.';
    const error = { code: 'conflict', message, details: [{ path: 'name', message }], requestId: 'req_1' };
    return route.fulfill({ status: 409, json: { error } });
  });
  await hosts?.fill('web*');
  await form.getByRole('button', { name: 'Seal and save' }).click();
  await eventually(() => isShown(name)).toBe(true);
  expect(faults.filter((fault) => !fault.includes('409'))).toEqual([]);
});

test('a key or keytab that is too large is said to be, and the one before it is not kept in its place', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const { page, faults } = await c.withSession();
  await page.goto(`${c.url}/credentials`);
  await page.getByRole('button', { name: 'Add credential…' }).click();
  const form = page.getByRole('dialog', { name: 'Add a credential' });
  const choose = (name: string, bytes: number) =>
    form.locator('input[type="file"]').setInputFiles({
      name,
      mimeType: 'application/octet-stream',
      buffer: Buffer.alloc(bytes, 'k'),
    });
  const key = form.getByRole('textbox', { name: 'Private key', exact: true });
  await choose('id_ed25519', 12);
  await eventually(() => key.inputValue()).toBe('k'.repeat(12));
  await form.getByRole('button', { name: 'Seal and save' }).click();
  await form.getByText('Paste the whole file: it begins with a line -----BEGIN').waitFor();
  await choose('backup.tar', 32_769);
  await form.getByText('backup.tar has 32,769 bytes; 32,768 are allowed').waitFor();
  expect(await key.inputValue()).toBe('');

  await form.getByRole('combobox', { name: 'Kind' }).selectOption('winrm_keytab');
  await choose('deploy.keytab', 900);
  await form.getByText('900 bytes chosen').waitFor();
  await choose('other.keytab', 24_001);
  await form.getByText('other.keytab has 24,001 bytes; 24,000 are allowed').waitFor();
  await choose('deploy.keytab', 901);
  await form.getByText('901 bytes chosen').waitFor();
  await choose('other.keytab', 24_001);
  await form.getByRole('button', { name: 'Seal and save' }).click();
  await form.getByText('other.keytab has 24,001 bytes; 24,000 are allowed').waitFor();
  expect(faults).toEqual([]);
});

test('the longest names leave room for the answers of a dialog, and on a small screen for what they name', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const { api } = c.system;
  const name = (of: string) => `${of}-${'of-the-production-line-'.repeat(3)}`.slice(0, 62).replace(/-$/, '');
  const segment = await api.made<{ id: number }>('/api/v1/segments', { name: name('segment') });
  const agent = await c.system.enrollAgent(name('agent'), segment.id);
  await agent.start();
  const agents = async () => (await api.get<{ items: Agent[] }>('/api/v1/agents')).body.items;
  await eventually(async () => (await agents()).find((one) => one.name === agent.name)?.hasSegmentKey).toBe(
    true,
  );
  const agentId = (await agents()).find((one) => one.name === agent.name)?.id;
  await storeCredential(api, segment.id, 'short', passwordSecret('deploy', 'correct horse'));
  const { page, faults } = await c.withSession();
  const sides = async (locator: Locator) => {
    const box = await locator.boundingBox();
    if (box === null) throw new Error('it has no box');
    return { left: box.x, right: box.x + box.width, width: box.width };
  };
  for (const width of [1440, 390]) {
    await page.setViewportSize({ width, height: 900 });
    await page.goto(`${c.url}/agents/${agentId}`);
    await page.getByRole('button', { name: 'Revoke…' }).click();
    const dialog = page.getByRole('dialog');
    const around = await sides(dialog);
    for (const answer of ['Leave it', `Revoke ${agent.name}`]) {
      const button = await sides(dialog.getByRole('button', { name: answer }));
      expect(button.left).toBeGreaterThan(around.left);
      expect(button.right).toBeLessThan(around.right);
    }
    await page.keyboard.press('Escape');
    expect((await sides(page.getByRole('region', { name: 'Keys' }))).right).toBeLessThanOrEqual(width);
  }
  await page.goto(`${c.url}/credentials`);
  const row = page.getByRole('row').filter({ hasText: 'short' });
  expect((await sides(row.locator('td').first())).width).toBeGreaterThan(200);
  await row.getByTitle(name('segment')).waitFor();
  expect(faults).toEqual([]);
});

test('of thousands of credentials some are read, and a part of a name finds any of them', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const many = 400;
  await c.system.sql`
    with made as (
      insert into credentials (id, segment_id, name, kind)
      select gen_random_uuid(), ${c.system.segmentId}, 'many-' || lpad(n::text, 4, '0'), 'ssh_password'
      from generate_series(1, ${many}) n returning id)
    insert into credential_versions (credential_id, version, generation, sealed) select id, 1, 1, '{}' from made`;
  const { page, faults } = await c.withSession();
  const read: number[] = [];
  page.on('response', async (response) => {
    if (!new URL(response.url()).pathname.endsWith('/api/v1/credentials')) return;
    read.push(((await response.json()) as { items: unknown[] }).items.length);
  });
  await page.goto(`${c.url}/credentials`);
  const rows = page.locator('tbody tr');
  await rows.first().waitFor();
  expect(await rows.count()).toBe(50);
  await eventually(() => expect(read).toEqual([50]));
  await page.getByRole('button', { name: 'Show more' }).click();
  await eventually(async () => expect(await rows.count()).toBe(250));
  await page.keyboard.press('/');
  await page.keyboard.type('NY-0399');
  await page.getByText('many-0399', { exact: true }).waitFor();
  await eventually(async () => expect(await rows.count()).toBe(1));
  await page.getByRole('searchbox').fill('none of them');
  await page.getByRole('link', { name: 'Show all credentials' }).click();
  await eventually(async () => expect(await rows.count()).toBe(50));
  expect(await page.getByRole('searchbox').inputValue()).toBe('');
  expect(faults).toEqual([]);
  await c.system.sql`delete from credentials where name like 'many-%'`;
});
