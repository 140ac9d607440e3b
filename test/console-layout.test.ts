// Where things are on pages, and that they stay there while the rest of a page loads. Chromium scores how much has moved:
// the part of the window that did, times how far. The answers come from the stand-in for the server: they only have to be
// slow.
import type { Page, Request, Route } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { noBrowser as missing, StandIn } from './console-stand-in.ts';

/** A screen of which a fifth moves by a tenth of it has this score. */
const mostShift = 0.02;
const standIn = new StandIn();
beforeAll(() => standIn.start());
afterAll(() => standIn.stop());

/** Resolves once what has changed is on the screen. */
const isDrawn = (page: Page) =>
  page.evaluate('new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))');

/**
 * Answers the page's requests one at a time, each when what came before is on the screen: the newest first, and those
 * for `late` last. Returns whether one is waiting.
 */
async function answerOneByOne(page: Page, late: string): Promise<() => boolean> {
  const waiting: Route[] = [];
  const isLate = (route: Route) => route.request().url().includes(late);
  let answering = false;
  const answer = async () => {
    answering = true;
    for (;;) {
      await isDrawn(page);
      const found = waiting.findLastIndex((route) => !isLate(route));
      const [route] = waiting.splice(found, 1);
      if (route === undefined) break;
      const answered = page.waitForEvent('requestfinished', (request) => request === route.request());
      await route.continue();
      await answered;
    }
    answering = false;
  };
  await page.route('**/api/v1/**', async (route) => {
    if (/\/(?:events|me)$/.test(new URL(route.request().url()).pathname)) return route.continue();
    waiting.push(route);
    // A page that was closed has nothing to answer.
    if (!answering) await answer().catch(() => {});
  });
  return () => answering;
}

/**
 * Opens a page of the console as the browser's history does, and so from the page that was shown; resolves when the
 * new one has its heading. To load the console anew takes three times the processor time.
 */
async function goWithin(page: Page, path: string): Promise<void> {
  const go = (to: string) =>
    page.evaluate(`history.pushState(null, '', '/${to}'); dispatchEvent(new PopStateEvent('popstate'))`);
  const nowhere = page.locator('main h1', { hasText: 'Page not found' });
  // From there, because pages of one kind keep their heading.
  await go('nowhere');
  await nowhere.waitFor();
  await go(path);
  await nowhere.waitFor({ state: 'detached' });
  await page.locator('main h1').waitFor();
}

test.for([
  ['/runs/4127', 'a run with decisions', '/decisions', '.output .body > *'],
  ['/runs/6300', 'a run that has ended', '/attempts', '.output .body > *'],
  ['/runs/6400', 'a run that is being cancelled', '/attempts', '[aria-label="Hosts"] [role="row"]'],
  ['/runs/6700', 'a run with silent hosts', '/explain', '[aria-label="No answer"]'],
  ['/agents', 'agents', '/targets', '[aria-label="Add an agent"]'],
  ['/agents/1', 'an agent', '/segments', '.actions'],
  ['/targets/groups/1', 'a target group', '/entries', '[aria-label="Rights granted on this group"]'],
  ['/targets?open=1', 'an open target', '/segments', '[aria-label="Target dmz-web-01"] dl'],
])('%s: %s stays where it is while it loads', async ([path = '', _, late = '', last = ''], { skip }) => {
  if (missing !== undefined) skip(missing);
  for (const width of [1440, 390]) {
    const context = await standIn.browser.newContext({
      viewport: { width, height: 850 },
      reducedMotion: 'reduce',
    });
    const page = await context.newPage();
    await page.addInitScript(`
      window.shifts = [];
      new PerformanceObserver((list) => window.shifts.push(...list.getEntries().map(({ value }) => value)))
        .observe({ type: 'layout-shift', buffered: true });
    `);
    const isAsking = await answerOneByOne(page, late);
    await page.goto(`${standIn.url}${path}`);
    await page.locator(last).first().waitFor({ state: 'attached', timeout: 30_000 });
    await expect.poll(isAsking, { timeout: 30_000 }).toBe(false);
    await isDrawn(page);
    const score = await page.evaluate('window.shifts.reduce((sum, shift) => sum + shift, 0)');
    expect(score, `at ${width} px`).toBeLessThan(mostShift);
    await page.unrouteAll({ behavior: 'ignoreErrors' });
    await context.close();
  }
});

test('on a phone, what stands above the hosts of a run stays as high as it was when they come', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const page = await standIn.browser.newPage({ viewport: { width: 390, height: 850 } });
  const steps: Route[] = [];
  await page.route(/\/runs\/4127\/(?:steps|decisions)/, async (route) => {
    if (route.request().url().includes('/steps')) steps.push(route);
  });
  await page.goto(`${standIn.url}/runs/4127`);
  const summary = page.getByRole('region', { name: 'Run', exact: true });
  await summary.getByText('Why: loading').waitFor();
  const height = async () => (await summary.boundingBox())?.height;
  const before = await height();
  for (const route of steps) await route.continue();
  await summary.getByText('Why: 1 cause').waitFor();
  await summary.getByText('24 (dmz-1 14, core-2 10)').waitFor();
  expect(await height()).toBe(before);
  await page.close();
});

test('the hosts of a run are shown although what stands above them does not come', async ({ skip }) => {
  if (missing !== undefined) skip(missing);
  const page = await standIn.browser.newPage();
  await page.clock.install();
  await page.route('**/runs/4127/decisions', () => {});
  const asked = page.waitForRequest('**/runs/4127/decisions');
  await page.goto(`${standIn.url}/runs/4127`);
  await asked;
  await isDrawn(page);
  const hosts = page.getByRole('region', { name: 'Hosts' });
  expect(await hosts.count()).toBe(0);
  await page.clock.runFor(5_000);
  await hosts.waitFor();
  await page.unrouteAll({ behavior: 'ignoreErrors' });
  await page.close();
});

test('a job is shown together with what is wrong with it, which stands above the rest, or without if that does not come', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  for (const comes of [true, false]) {
    const page = await standIn.browser.newPage();
    await page.clock.install();
    let release = () => {};
    const released = new Promise<void>((resolve) => {
      release = resolve;
    });
    await page.route('**/jobs/1/health', async (route) => {
      await released;
      await route.continue();
    });
    const answered = page.waitForResponse((response) => response.url().endsWith('/api/v1/jobs/1'));
    await page.goto(`${standIn.url}/jobs/1`);
    await answered;
    await page.clock.runFor(2_000);
    await isDrawn(page);
    const parts = page.getByRole('navigation', { name: 'Parts of the job' });
    expect(await parts.count()).toBe(0);
    if (comes) release();
    else await page.clock.runFor(5_000);
    await parts.waitFor();
    expect(await page.getByRole('list', { name: 'What is wrong with it' }).count()).toBe(comes ? 1 : 0);
    await page.unrouteAll({ behavior: 'ignoreErrors' });
    await page.close();
  }
});

test('grey rows of a page that loads make nothing wider than the window', async ({ skip }) => {
  if (missing !== undefined) skip(missing);
  for (const [path, of, width] of [
    ['people/users/2', '**/users/2/access*', 390],
    ['targets?open=1', '**/targets/1/effective-settings*', 390],
    ['targets?open=1', '**/targets/1/effective-settings*', 1440],
  ] as const) {
    const page = await standIn.page({ viewport: { width, height: 850 } });
    await page.route(of, () => {});
    await page.goto(`${standIn.url}/${path}`);
    const rows = page.locator('[role="status"] .grey').first();
    await rows.waitFor({ state: 'attached' });
    const [end, most] = await rows.evaluate((row) => [
      row.getBoundingClientRect().right,
      row.ownerDocument.documentElement.clientWidth,
    ]);
    expect(end, `${path} at ${width} px`).toBeLessThanOrEqual(most);
    await page.unrouteAll({ behavior: 'ignoreErrors' });
    await page.context().close();
  }
});

test.for([1440, 390])(
  'the panels of a user appear from the top down, so that none pushes another one down, %i px wide',
  async (width, { skip }) => {
    if (missing !== undefined) skip(missing);
    const context = await standIn.browser.newContext({
      viewport: { width, height: 900 },
      reducedMotion: 'reduce',
    });
    const page = await context.newPage();
    let release = () => {};
    const released = new Promise<void>((resolve) => {
      release = resolve;
    });
    await page.route(/\/api\/v1\/grants\?/, async (route) => {
      await released;
      await route.continue();
    });
    const others = ['access', 'sessions', 'tokens'].map((what) =>
      page.waitForResponse((response) => response.url().includes(`/users/2/${what}`)),
    );
    await page.goto(`${standIn.url}/people/users/2`);
    await page.getByRole('region', { name: 'Grants' }).waitFor();
    await Promise.all(others);
    const access = page.getByRole('region', { name: /^What may .+ do, and why$/ });
    const tokens = page.getByRole('region', { name: 'API tokens' });
    // Beside the grants, the other column need not wait for them.
    await tokens.waitFor({ state: width > 1000 ? 'visible' : 'hidden' });
    expect(await access.isVisible()).toBe(false);
    release();
    await access.waitFor();
    await tokens.waitFor();
    await context.close();
  },
);

test('on a phone, the filters of people and of the audit log are folded away, all but the search', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const context = await standIn.browser.newContext({ viewport: { width: 390, height: 900 } });
  const page = await context.newPage();
  for (const [path, search, filter] of [
    ['people', 'Search users', 'State'],
    ['audit', 'Text in the detail', 'Actor'],
  ] as const) {
    await page.goto(`${standIn.url}/${path}`);
    await page.getByLabel(search).waitFor();
    expect(await page.getByLabel(filter, { exact: true }).isVisible()).toBe(false);
    await page.getByRole('button', { name: 'Filters', exact: true }).click();
    await page.getByLabel(filter, { exact: true }).waitFor();
  }
  await page.getByLabel('Actor', { exact: true }).fill('admin');
  await page.getByRole('button', { name: 'Filters, 1 set' }).click();
  await page.getByLabel('Actor', { exact: true }).waitFor({ state: 'hidden' });
  await context.close();
});

test('no page is wider or taller than the window, from 1440 to 320 px wide: only its parts scroll', {
  timeout: 120_000,
}, async ({ skip }) => {
  if (missing !== undefined) skip(missing);
  const height = 850;
  const context = await standIn.browser.newContext({
    viewport: { width: 390, height },
    reducedMotion: 'reduce',
  });
  const page = await context.newPage();
  /** What the page has asked for and has no answer to yet. */
  const asked = new Set<Request>();
  page.on('request', (request) => {
    if (!new URL(request.url()).pathname.endsWith('/events')) asked.add(request);
  });
  page.on('framenavigated', () => asked.clear());
  page.on('requestfinished', (request) => asked.delete(request));
  page.on('requestfailed', (request) => asked.delete(request));
  const scrolled: Record<string, unknown> = {};
  await page.goto(`${standIn.url}/nowhere`);
  for (const path of [
    ...['', 'jobs/new', 'jobs/1', 'jobs/1/edit', 'jobs/1/versions', 'jobs/1/versions/1', 'jobs/1/compare'],
    ...['jobs/1/history', 'jobs/1/statistics', 'jobs/health', 'jobs/starters', 'jobs/import', 'jobs/rules'],
    ...[
      'jobs/rules/new',
      'runs',
      'runs/queue',
      'runs/4127',
      'runs/5000',
      'runs/6300',
      'runs/6400',
      'runs/6700',
      'targets',
      'targets/groups',
    ],
    ...[
      'targets/groups/1',
      'targets/groups/1/edit',
      'targets/inventories',
      'targets/inventories/1',
      'targets/scans',
    ],
    ...['targets/scans/15', 'targets/known-hosts', 'targets/host-trust', 'agents', 'agents/1', 'credentials'],
    ...['categories', 'files', 'people', 'people/users/3', 'people/groups', 'people/groups/1'],
    ...['people/permissions', 'audit', 'account'],
  ]) {
    await goWithin(page, path);
    await expect.poll(() => [...asked].map((request) => request.url()), { timeout: 10_000 }).toEqual([]);
    // Loading each page once for each width would take as many times as long.
    for (const width of [390, 1440, 800, 720, 320]) {
      await page.setViewportSize({ width, height });
      await isDrawn(page);
      const size = await page.evaluate(
        '(({ scrollWidth, scrollHeight }) => ({ scrollWidth, scrollHeight }))(document.documentElement)',
      );
      if (JSON.stringify(size) !== JSON.stringify({ scrollWidth: width, scrollHeight: height }))
        scrolled[`${path} at ${width} px`] = size;
    }
  }
  expect(scrolled).toEqual({});
  await context.close();
});

test('on a phone, the buttons of scans are of one width, and the counts of a run take two lines', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const context = await standIn.browser.newContext({ viewport: { width: 390, height: 900 } });
  const page = await context.newPage();
  await page.goto(`${standIn.url}/targets/scans`);
  const boxOf = async (name: string) =>
    page.getByRole('main').getByText(name).locator('visible=true').first().boundingBox();
  const known = await boxOf('Import known_hosts…');
  const trust = await boxOf('Authorities and revoked keys');
  const scan = await boxOf('Scan targets…');
  expect({ y: trust?.y, width: trust?.width, height: trust?.height }).toEqual({
    y: known?.y,
    width: known?.width,
    height: known?.height,
  });
  expect(scan?.width).toBeGreaterThan(2 * (known?.width ?? Number.NaN));
  await page.goto(`${standIn.url}/runs/5000`);
  const counts = page.getByRole('group', { name: 'Filter hosts by state' }).getByRole('button');
  await counts.nth(4).waitFor();
  const lines = await counts.evaluateAll((all) => all.map((one) => one.getBoundingClientRect().top));
  expect(new Set(lines).size).toBe(2);
  await context.close();
});

test('a long name of a target is cut in the list, and told in full under the pointer and beside the list', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const page = await standIn.page({ viewport: { width: 1280, height: 800 } });
  const name = 'fra1-production-payments-postgres-replica-1.eu-central-1.internal.example.com';
  await page.route('**/api/v1/targets?*', async (route) => {
    const answer = await route.fetch();
    const list = (await answer.json()) as { items: { name: string }[] };
    if (list.items[0] !== undefined) list.items[0].name = name;
    await route.fulfill({ json: list });
  });
  await page.goto(`${standIn.url}/targets`);
  await page.getByRole('button', { name }).locator('b').hover();
  await page.getByTitle(name).waitFor();
  const other = page.getByText('dmz-web-02', { exact: true });
  await other.hover();
  expect(await other.getAttribute('title')).toBeNull();
  await page.getByRole('button', { name }).click();
  const heading = page.getByRole('complementary').getByRole('heading', { name });
  await heading.waitFor();
  const isCut = () => heading.evaluate((element) => element.scrollWidth > element.clientWidth);
  expect(await isCut()).toBe(false);
  await page.unrouteAll({ behavior: 'ignoreErrors' });
  await page.context().close();
});

test('beside an open target, no filter of the list stands alone on a line, from 1010 to 1440 px', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const page = await standIn.page({ viewport: { width: 1440, height: 800 } });
  await page.goto(`${standIn.url}/targets?open=1`);
  await page.getByRole('combobox', { name: 'Segment' }).waitFor();
  for (const width of [1010, 1100, 1200, 1240, 1280, 1366, 1440]) {
    await page.setViewportSize({ width, height: 800 });
    await isDrawn(page);
    const lines = await page
      .locator('.filters :is(input, select)')
      .evaluateAll((all) => all.map((one) => one.getBoundingClientRect().top));
    const counts = [...new Set(lines)].map((top) => lines.filter((one) => one === top).length);
    expect(Math.min(...counts), `${width} px`).toBeGreaterThan(1);
  }
  await page.context().close();
});

test('a job and a run that could not be loaded have the ground that they have while they load', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const page = await standIn.page({ viewport: { width: 1440, height: 800 } });
  const ground = (selector: string) =>
    page
      .locator(`main > ${selector}`)
      .evaluate((element) => element.ownerDocument.defaultView?.getComputedStyle(element).backgroundColor);
  for (const path of ['jobs/1', 'runs/4127']) {
    let fail = () => {};
    const failing = new Promise<void>((resolve) => {
      fail = resolve;
    });
    await page.route(`**/api/v1/${path}`, async (route) => {
      await failing;
      const error = { code: 'internal', message: 'Internal error.', requestId: 'req_1' };
      await route.fulfill({ status: 500, json: { error } });
    });
    await page.goto(`${standIn.url}/${path}`);
    await page.locator('main h1').waitFor();
    const before = await ground(':first-child');
    fail();
    await page.getByRole('button', { name: 'Try again' }).waitFor();
    expect(await ground(':first-child'), path).toBe(before);
  }
  await page.unrouteAll({ behavior: 'ignoreErrors' });
  await page.context().close();
});

test.for([1440, 390])(
  'words of quiet buttons end, and begin, where everything else does, %i px wide',
  async (width, { skip }) => {
    if (missing !== undefined) skip(missing);
    const page = await standIn.page({ viewport: { width, height: 900 } });
    const margin = width === 390 ? 12 : 16;
    await page.goto(`${standIn.url}/nowhere`);
    for (const [path, name, side] of [
      ['targets/inventories/1', 'Delete…', 'right'],
      ['people/groups/1', 'Delete…', 'right'],
      ['jobs/rules/1', 'Delete…', 'right'],
      ['jobs', 'Run Back up switch configurations', 'right'],
      ['jobs/1', 'Copy…', 'left'],
      ...(width === 390
        ? []
        : ([
            ['agents/1', 'Revoke…', 'right'],
            ['files', 'Discard the upload of backup-of-the-inventory.tar', 'right'],
          ] as const)),
    ] as const) {
      await goWithin(page, path);
      const button = page
        .getByRole('main')
        .locator('.button.quiet')
        .and(
          page.getByRole('button', { name, exact: true }).or(page.getByRole('link', { name, exact: true })),
        );
      await button.waitFor();
      const { left, right } = await button.evaluate((element) => {
        const range = element.ownerDocument.createRange();
        range.selectNodeContents(element);
        return range.getBoundingClientRect();
      });
      expect(side === 'left' ? left : width - right, `${path} ${name}`).toBeCloseTo(margin, 0);
    }
    await page.context().close();
  },
);
