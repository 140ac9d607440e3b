// Who may do what, as it shows in the console: what is out of reach is not there, and what is granted arrives.
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
const makeUser = (name: string) => c.system.api.made<Made>('/api/v1/users', { name });
const makeJob = (name: string, category: string) =>
  c.system.api.made<Made>('/api/v1/jobs', {
    name,
    category,
    steps: [{ name: 'hello', type: 'ssh.exec', config: { command: 'echo hello' } }],
  });

test('an operator of a segment and a category sees only their things, is offered only what they may, and runs', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const { api } = c.system;
  const core = await api.made<Made>('/api/v1/segments', { name: 'core' });
  await api.made('/api/v1/targets', { segmentId: core.id, name: 'core-db', host: '10.9.8.7', port: 22 });
  const category = await api.made<Made>('/api/v1/categories', { name: 'web' });
  await api.made('/api/v1/categories', { name: 'payroll' });
  const own = await makeJob('Greet the web', 'web');
  const other = await makeJob('Pay everybody', 'payroll');
  const user = await makeUser('olga');
  for (const scope of [
    { kind: 'segment', id: c.system.segmentId },
    { kind: 'category', id: category.id },
  ]) {
    await api.made('/api/v1/grants', { userId: user.id, role: 'operator', scope });
  }

  const { page, faults } = await c.signedInAs('olga');
  const main = page.locator('main');
  await page.getByRole('link', { name: 'Greet the web' }).waitFor();
  expect(await main.textContent()).not.toMatch(/Pay everybody|payroll/);
  const places = page.locator('header nav a');
  expect(await places.allTextContents()).toEqual(['Runs', 'Jobs', 'Targets', 'Agents', 'Credentials']);
  expect(await main.getByRole('link', { name: 'New job' }).count()).toBe(0);

  await page.goto(`${c.url}/targets`);
  await page.getByText('host', { exact: true }).waitFor();
  expect(await main.textContent()).not.toMatch(/core/);
  expect(await main.getByRole('button', { name: /Edit|Delete|Add/ }).count()).toBe(0);
  await page.goto(`${c.url}/agents`);
  await page.getByRole('heading', { name: 'dmz' }).waitFor();
  expect(await main.textContent()).not.toMatch(/core/);
  await page.goto(`${c.url}/jobs/${other.id}`);
  await page.getByRole('heading', { name: `There is no job ${other.id}` }).waitFor();

  await page.goto(`${c.url}/jobs/${own.id}`);
  await page.getByRole('heading', { name: 'Greet the web' }).waitFor();
  await page.keyboard.press('r');
  await page.getByRole('checkbox', { name: /^host / }).check();
  await page.getByRole('button', { name: 'Run on 1 target' }).click();
  await page.locator('.lines').getByText('hello', { exact: true }).waitFor();
  await page.locator('.title').getByText('succeeded').waitFor();
  // The console asked for nothing that it may not: each refusal would be in the audit log.
  const refused = await c.system.sql`select detail from audit_log where action = 'request.refused'`;
  expect(refused).toEqual([]);

  // Only where one goes by hand: then the page says which right is missing, and still asks for nothing.
  await page.goto(`${c.url}/people`);
  await page.getByRole('heading', { name: 'You may not see this page' }).waitFor();
  expect(await main.textContent()).toContain('people.edit');
  expect(await c.system.sql`select id from audit_log where action = 'request.refused'`).toEqual([]);
  expect(faults).toEqual([]);
});

test('an administrator of one segment is offered nothing that they may not do on the things of another', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const { api, segmentId, targetId } = c.system;
  const own = await api.made<Made>('/api/v1/segments', { name: 'lab' });
  await api.made('/api/v1/targets', { segmentId: own.id, name: 'lab-1', host: '10.9.8.8', port: 22 });
  const job = await makeJob('Greet from afar', 'general');
  const { id: runId } = await api.made<Made>(`/api/v1/jobs/${job.id}/run`, { targetIds: [targetId] });
  await api.runEnds(runId);
  const user = await makeUser('sven');
  await api.made('/api/v1/grants', { userId: user.id, role: 'viewer', scope: null });
  await api.made('/api/v1/grants', {
    userId: user.id,
    role: 'admin',
    scope: { kind: 'segment', id: own.id },
  });

  const { page, faults } = await c.withSession({ name: 'sven' });
  const main = page.locator('main');
  const actions = async () => (await main.getByRole('button').allTextContents()).join('|');
  await page.goto(`${c.url}/credentials`);
  await page.getByRole('table').waitFor();
  expect(await actions()).not.toMatch(/Add|Edit|Replace|Delete/);

  await page.goto(`${c.url}/agents`);
  await page.getByRole('heading', { name: 'dmz' }).waitFor();
  const panel = page.getByRole('region', { name: 'Add an agent' });
  await eventually(() => panel.getByLabel('Segment').locator('option').allTextContents()).toEqual(['lab']);
  expect(await main.getByRole('button', { name: 'Add an agent' }).count()).toBe(1);
  expect(await main.getByRole('button', { name: 'New segment' }).count()).toBe(0);
  const [agent] = (await api.get<{ items: Made[] }>('/api/v1/agents')).body.items;
  // Read beside the agent; the actions come with it.
  const segments = page.waitForResponse((response) => response.url().includes('/api/v1/segments'));
  await page.goto(`${c.url}/agents/${agent?.id}`);
  await page.getByText('connected').first().waitFor();
  await segments;
  expect(await actions()).not.toMatch(/Labels|Drain|Disable|New keys|Revoke/);

  await page.goto(`${c.url}/targets`);
  const about = page.getByRole('complementary');
  await page.getByText('host', { exact: true }).click();
  await about.getByRole('heading', { name: 'host', exact: true }).waitFor();
  expect(await about.getByRole('button', { name: /Test|Edit|Delete|Check now/ }).count()).toBe(0);
  await page.getByText('lab-1', { exact: true }).click();
  await about.getByRole('heading', { name: 'lab-1' }).waitFor();
  expect(await about.getByRole('button', { name: /Test|Edit|Delete|Check now/ }).count()).toBe(4);
  await page.getByRole('button', { name: /^Add target/ }).click();
  const form = page.getByRole('dialog', { name: 'Add a target' });
  await eventually(() => form.getByLabel('Segment').locator('option').allTextContents()).toEqual(['lab']);

  await page.goto(`${c.url}/targets/known-hosts`);
  await eventually(() => main.getByLabel('Segment').locator('option').allTextContents()).toEqual([
    'choose…',
    'lab',
  ]);

  const { id: scan } = await api.made<Made>('/api/v1/host-scans', {
    selection: { targetIds: [targetId] },
    kind: 'keys',
  });
  await page.goto(`${c.url}/targets/scans/${scan}`);
  await page.getByRole('list', { name: 'Targets of the scan' }).getByText('host', { exact: true }).waitFor();
  expect(await main.getByRole('checkbox').count()).toBe(0);

  await page.goto(`${c.url}/runs/${runId}`);
  await page.locator('.title').getByText('succeeded').waitFor();
  expect(await actions()).not.toMatch(/Run again|Cancel|Stop/);
  expect(segmentId).not.toBe(own.id);
  const refused = await c.system.sql`
    select detail from audit_log where action = 'request.refused' and actor_name = 'sven'`;
  expect(refused).toEqual([]);
  expect(faults).toEqual([]);
});

test('who may see nothing of a place is told which permission shows more, and not that there is nothing yet', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const { api } = c.system;
  const category = await api.made<Made>('/api/v1/categories', { name: 'reports' });
  const job = await makeJob('Count everything', 'reports');
  const user = await makeUser('rosa');
  await api.made('/api/v1/grants', {
    userId: user.id,
    role: 'operator',
    scope: { kind: 'category', id: category.id },
  });
  const { page, faults } = await c.withSession({ name: 'rosa' });
  const main = page.locator('main');
  for (const [path, things, where] of [
    ['targets', 'targets', 'You see the targets in segments and target groups'],
    ['agents', 'segments', 'You see the segments'],
    ['credentials', 'credentials', 'You see the credentials of segments'],
    ['targets/host-trust', 'segments', 'You see the segments'],
    ['targets/inventories', 'inventories', 'You see the inventories of segments'],
    ['jobs/starters', 'starters', 'You see the starters in categories'],
  ]) {
    await page.goto(`${c.url}/${path}`);
    await main.getByText(`No ${things} that you may see`).waitFor();
    await main.getByText(`${where} on which you have the permission read.`).waitFor();
    expect(await main.textContent()).not.toMatch(/No \w+ yet/);
    expect(await main.getByRole('button', { name: /Create|Add|first/ }).count()).toBe(0);
    expect(await main.getByRole('link', { name: /Add|Create/ }).count()).toBe(0);
  }
  await page.locator('footer').getByText('no segments that you may see').waitFor();
  await page.goto(`${c.url}/jobs/${job.id}`);
  await page.getByRole('heading', { name: 'Count everything' }).waitFor();
  await page.keyboard.press('r');
  await page
    .getByRole('dialog')
    .getByText('you need the permission read on their segment or a target group.')
    .waitFor();
  expect(faults).toEqual([]);
});

test('what is granted on a category shows in the whole list of jobs, without a reload', async ({ skip }) => {
  if (missing !== undefined) skip(missing);
  const { api } = c.system;
  const category = await api.made<Made>('/api/v1/categories', { name: 'late' });
  await makeJob('Greet much later', 'late');
  const user = await makeUser('ruth');
  const scope = { kind: 'segment', id: c.system.segmentId };
  await api.made('/api/v1/grants', { userId: user.id, role: 'operator', scope });
  const { page, faults } = await c.signedInAs('ruth');
  await page.getByText('No jobs that you may see').waitFor();
  await page.goto(`${c.url}/files`);
  await page.getByText('No files that you may see').waitFor();
  await page.clock.install();
  await page.goto(`${c.url}/jobs`);
  await page.getByText('No jobs that you may see').waitFor();
  await api.made('/api/v1/grants', {
    userId: user.id,
    role: 'operator',
    scope: { kind: 'category', id: category.id },
  });
  // Late enough for the page to ask again what its user may do, too early for it to read the categories again anyway.
  await page.clock.fastForward(16_000);
  await page.getByRole('link', { name: 'Greet much later' }).waitFor();
  await page.getByRole('button', { name: /^Run/ }).waitFor();
  await page
    .getByRole('navigation', { name: 'Jobs by category' })
    .getByText('late', { exact: true })
    .waitFor();
  expect(faults).toEqual([]);
});

test('who makes a segment without the right to enroll agents there is not shown how to', async ({ skip }) => {
  if (missing !== undefined) skip(missing);
  const user = await makeUser('mara');
  await c.system.api.made('/api/v1/grants', { userId: user.id, role: 'viewer', scope: null });
  await c.system.api.made('/api/v1/grants', { userId: user.id, permission: 'segments.edit', scope: null });
  const { page, faults } = await c.withSession({ name: 'mara' });
  await page.goto(`${c.url}/agents`);
  await page.getByRole('button', { name: 'New segment…' }).click();
  await page.getByRole('dialog').getByLabel('Name', { exact: true }).fill('annex');
  await page.getByRole('button', { name: 'Create segment' }).click();
  await page.getByRole('heading', { name: 'annex' }).waitFor();
  expect(await page.getByRole('region', { name: 'Add an agent' }).count()).toBe(0);
  expect(faults).toEqual([]);
});

test('where a server of an earlier version answers, which says of no run and scan what one may, a right held anywhere offers it', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const { api, segmentId, sshd } = c.system;
  const gate = await c.system.gate();
  const { id: runId } = await c.system.run([gate.wait]);
  const unseen = { segmentId, name: 'unseen', host: sshd.host, port: sshd.port };
  const target = await api.made<Made>('/api/v1/targets', unseen);
  const selection = { targetIds: [target.id] };
  const { id: scanId } = await api.made<Made>('/api/v1/host-scans', { selection, kind: 'keys' });
  const { page, faults } = await c.withSession();
  await page.route(/\/api\/v1\/(runs\/\d+|host-scans\/\d+(\/items.*)?)$/, async (route) => {
    const response = await route.fetch();
    const unsaid = ['eventId', 'mayRun', 'mayCancel', 'mayApprove'];
    const body = JSON.parse(await response.text(), (key, value) =>
      unsaid.includes(key) ? undefined : value,
    );
    await route.fulfill({ response, json: body });
  });
  await page.goto(`${c.url}/runs/${runId}`);
  await page.getByRole('button', { name: 'Run again…' }).waitFor();
  await page.getByRole('button', { name: 'Cancel run…' }).waitFor();
  await gate.open();
  await page.locator('.title').getByText('succeeded').waitFor();

  await page.goto(`${c.url}/targets/scans/${scanId}`);
  await page.getByRole('button', { name: 'Accept the keys of all 1 new target…' }).waitFor();
  await page.getByRole('checkbox', { name: 'Select unseen' }).waitFor();
  expect(faults).toEqual([]);
});

test('a run’s page offers what has been granted since it was opened', async ({ skip }) => {
  if (missing !== undefined) skip(missing);
  const { api, targetId } = c.system;
  const job = await makeJob('Greet late', 'general');
  const { id: runId } = await api.made<Made>(`/api/v1/jobs/${job.id}/run`, { targetIds: [targetId] });
  await api.runEnds(runId);
  const user = await makeUser('rita');
  await api.made('/api/v1/grants', { userId: user.id, role: 'viewer', scope: null });
  const { page, faults } = await c.withSession({ name: 'rita' });
  await page.goto(`${c.url}/runs/${runId}`);
  await page.locator('.title').getByText('succeeded').waitFor();
  const again = page.getByRole('button', { name: 'Run again' });
  expect(await again.count()).toBe(0);
  await api.made('/api/v1/grants', { userId: user.id, role: 'operator', scope: null });
  await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))");
  await again.waitFor();
  expect(faults).toEqual([]);
});

test('what an administrator grants opens the other browser’s pages, and what is taken back closes them', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  await makeUser('grace');
  const other = await c.signedInAs('grace');
  await other.page.getByRole('heading', { name: 'You have no permissions yet' }).waitFor();

  const { page, faults } = await c.signedIn();
  await page.getByRole('link', { name: 'People' }).click();
  await page.getByRole('link', { name: 'grace' }).click();
  await page.getByText('grace sees nothing after signing in.').waitFor();
  await page.getByRole('button', { name: 'Grant…' }).click();
  const dialog = page.getByRole('dialog', { name: 'Grant to grace' });
  await dialog.getByLabel('Role', { exact: true }).selectOption('viewer');
  const grant = dialog.getByRole('button', { name: 'Grant', exact: true });
  expect(await grant.isDisabled()).toBe(true);
  await dialog.getByRole('combobox', { name: 'On', exact: true }).fill('dm');
  await dialog.getByRole('listbox').getByRole('option', { name: 'dmz', selected: true }).waitFor();
  await page.keyboard.press('Enter');
  // The keyboard goes on where the field was, not at the top of the dialog.
  const change = dialog.getByRole('button', { name: 'Change dmz' });
  await eventually(() => change.evaluate((button) => button.ownerDocument.activeElement === button)).toBe(
    true,
  );
  await dialog.getByText('On segment dmz, grace will hold').waitFor();
  await grant.click();
  await page.getByRole('button', { name: 'Revoke role viewer, segment dmz' }).waitFor();

  // The page that was closed opens; what is in the segment is there.
  await other.page.getByRole('button', { name: 'Check again' }).click();
  await other.page.getByRole('heading', { name: 'Jobs', exact: true }).waitFor();
  await other.page.getByRole('link', { name: 'Targets' }).click();
  await other.page.getByText('host', { exact: true }).waitFor();

  // Why they may, as the administrator is told.
  const why = page.getByRole('region', { name: 'What may grace do, and why' });
  await why.getByLabel('May grace').selectOption('read');
  await why.getByRole('combobox', { name: 'on target, segment or group' }).fill('host');
  await why.getByRole('listbox').getByRole('option', { name: /^host/ }).click();
  await why.getByRole('button', { name: 'Ask' }).click();
  await why.getByText('grace may: read on target “host”.').waitFor();
  expect(await why.locator('.answer').textContent()).toMatch(/role viewer\s+segment dmz/);

  await page.getByRole('button', { name: 'Revoke role viewer, segment dmz' }).click();
  await page.getByRole('button', { name: 'Revoke it' }).click();
  await page.getByText('grace sees nothing after signing in.').waitFor();
  // Without a reload: the next refusal says it, at the latest when the page is looked at again.
  await other.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))");
  await other.page.getByRole('heading', { name: 'You have no permissions yet' }).waitFor();

  // A service account does not sign in.
  const { id } = await c.system.api.made<Made>('/api/v1/users', { name: 'nightly', kind: 'service' });
  await page.goto(`${c.url}/people/users/${id}`);
  await page.getByText('nightly may do nothing with its tokens.').waitFor();

  await page.getByRole('link', { name: 'Audit' }).click();
  await page.getByLabel('Action').fill('grant.');
  // The row of the whole list goes once the filter narrows it.
  await page.waitForURL(/action=grant\./);
  await page
    .getByRole('button', { name: /grant\.deleted/ })
    .first()
    .click();
  const row = page.getByRole('complementary');
  await row.getByRole('heading', { name: 'grant.deleted' }).waitFor();
  expect(await row.textContent()).toMatch(/viewer/);
  await row.getByRole('button', { name: 'Close' }).click();
  const rows = page.getByRole('listitem').filter({ has: page.locator('button:focus') });
  await eventually(() => rows.allTextContents()).toEqual([expect.stringMatching(/grant\.deleted/)]);
  await eventually(() => page.locator('.seal').textContent()).toMatch(/sealed.*checkpoint [\d,]+/s);
  expect([...faults, ...other.faults]).toEqual([]);
});

test('a name that can’t be broken between words stays within its panel', async ({ skip }) => {
  if (missing !== undefined) skip(missing);
  const name = 'christopher_montgomery_featherstonehaugh@infrastructure.corp';
  const user = await makeUser(name);
  const segment = await c.system.api.made<{ id: number }>('/api/v1/segments', {
    name: 'productionpaymentsreplicationfrankfurtandamsterdameuropewest2',
  });
  const { page, faults } = await c.signedIn(390);
  const standOut = () =>
    page
      .locator('main')
      .evaluate((main) =>
        [...main.querySelectorAll('.panel, .panel p, .panel h2, .panel label, dl.meta')]
          .filter(
            (part) =>
              part.scrollWidth > part.clientWidth + 1 &&
              part.ownerDocument.defaultView?.getComputedStyle(part).display !== 'inline',
          )
          .map((part) => part.textContent),
      );
  await page.goto(`${c.url}/people/users/${user.id}`);
  await page.getByText(`no grant gives ${name} any rights`).waitFor();
  expect(await standOut()).toEqual([]);
  await page.setViewportSize({ width: 1440, height: 900 });
  expect(await standOut()).toEqual([]);
  const tops = await page
    .locator('.actions button')
    .evaluateAll((buttons) => buttons.map((button) => button.getBoundingClientRect().top));
  expect(new Set(tops).size).toBe(1);
  await page.goto(`${c.url}/agents`);
  await page
    .getByRole('region', { name: 'Add an agent' })
    .getByRole('combobox')
    .selectOption(`${segment.id}`);
  await page.getByText('On a machine inside productionpayments').waitFor();
  expect(await standOut()).toEqual([]);
  expect(faults).toEqual([]);
});

test('the outline of a focused name in a list is whole, and the row is not under the head of the table', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  for (let at = 0; at < 30; at += 1) await makeUser(`outlined-${String(at).padStart(2, '0')}`);
  const { page, faults } = await c.withSession();
  await page.goto(`${c.url}/people`);
  const name = page.getByRole('link', { name: 'outlined-00', exact: true });
  await name.waitFor();
  /** How far the outline reaches beyond what its cell shows of it, and whether the head covers it. */
  const outline = () =>
    page.evaluate(`(() => {
      const link = document.activeElement;
      const { outlineWidth, outlineOffset } = getComputedStyle(link);
      const reach = parseFloat(outlineWidth) + parseFloat(outlineOffset);
      const { overflowX, overflowClipMargin } = getComputedStyle(link.parentElement);
      const margin = overflowX === 'clip' ? parseFloat(overflowClipMargin) : 0;
      const [cell, own, head] = [link.parentElement, link, document.querySelector('thead th')].map((one) =>
        one.getBoundingClientRect(),
      );
      return {
        cut: Math.max(0, cell.left - margin - (own.left - reach), cell.top - margin - (own.top - reach)),
        isUnderHead: own.top - reach < head.bottom,
      };
    })()`);
  await page.getByRole('link', { name: 'outlined-29', exact: true }).focus();
  // Wherever the list has been scrolled to, the row above the first one in sight lies under the head.
  for (let at = 28; at >= 0; at -= 1) {
    await page.evaluate(`(() => {
      const [head, row] = [document.querySelector('thead th'), document.activeElement.closest('tr')];
      const list = row.closest('.scroll');
      list.scrollTop += row.getBoundingClientRect().top - head.getBoundingClientRect().bottom;
    })()`);
    await page.keyboard.press('Shift+Tab');
    expect(await outline(), `row ${at}`).toEqual({ cut: 0, isUnderHead: false });
  }
  await eventually(() => name.evaluate((link) => link.matches(':focus-visible'))).toBe(true);
  expect(faults).toEqual([]);
});

test('a log whose newest sealed row was removed is told of above its rows, and leads to what was found', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const { page, faults } = await c.withSession();
  await page.goto(`${c.url}/audit`);
  await page.getByRole('list', { name: 'Rows of the audit log, newest first' }).waitFor();
  expect(await page.getByRole('alert').count()).toBe(0);
  // As whoever owns the database can.
  await c.system.sql.begin(async (tx) => {
    await tx`alter table audit_log disable trigger user`;
    await tx`delete from audit_log where id = (select audit_id from audit_leaves order by position desc limit 1)`;
    await tx`alter table audit_log enable trigger user`;
  });
  await eventually(
    async () => await c.system.sql`select id from audit_log where action = 'audit.row_missing'`,
  ).toHaveLength(1);
  await page.reload();
  const alert = page.getByRole('alert');
  await alert.getByText('Rows that were sealed are missing.').waitFor();
  await alert.getByRole('link', { name: 'See what was found' }).click();
  await page.getByRole('button', { name: /audit\.row_missing/ }).click();
  await page.getByRole('complementary').getByText('missing', { exact: true }).waitFor();
  // A row that is taller than the window scrolls by itself.
  await page.setViewportSize({ width: 1440, height: 240 });
  expect(await page.evaluate('document.documentElement.scrollHeight')).toBe(240);
  expect(faults).toEqual([]);
});
