// The console where there are 1,000 segments: it reads pages of them and searches, and no list of all.
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { ConsoleSystem, eventually, missing } from './console-browser.ts';

const segmentCount = 1_000;
let c: ConsoleSystem;
beforeAll(async () => {
  if (missing !== undefined) return;
  c = await ConsoleSystem.start();
  await c.system.sql`
    insert into segments (name, description, unknown_after_s, root_mode, root_key, root_key_sealed)
    select 'site-' || lpad(n::text, 4, '0'), '', 300, root_mode, root_key, root_key_sealed
      from segments, generate_series(2, ${segmentCount}::int) n`;
}, 120_000);
afterEach(() => c?.closePages());
afterAll(() => c?.stop());

/** Signed in, with the queries of every list of segments or agents that the page asks for. */
async function watched() {
  const opened = await c.signedIn();
  const asked: URL[] = [];
  opened.page.on('request', (request) => {
    const url = new URL(request.url());
    if (/^\/api\/v1\/(segments|agents)$/.test(url.pathname)) asked.push(url);
  });
  /** Those that are answered with everything. */
  const unbounded = () =>
    asked
      .filter(
        ({ pathname, search }) => !search.includes(pathname.endsWith('agents') ? 'segmentId' : 'limit='),
      )
      .map(String);
  return { ...opened, asked, unbounded };
}

test('agents are shown for a page of segments, more when asked, and any is found by its name or its segment’s', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const { page, faults, asked, unbounded } = await watched();
  const panels = page.getByRole('region', { name: /^Segment / });
  await page.goto(`${c.url}/agents`);
  await eventually(() => panels.count()).toBe(50);
  await page
    .getByText(/^1,000 segments, .*999 without an agent$/)
    .first()
    .waitFor();
  await page.getByRole('button', { name: 'Show more segments' }).click();
  await eventually(() => panels.count()).toBe(250);
  const field = page.getByRole('textbox', { name: 'Filter segments and agents' });
  await field.fill('0987');
  await eventually(() => panels.allTextContents()).toHaveLength(1);
  await page.getByRole('heading', { name: 'site-0987' }).waitFor();
  await page.getByText('1 of 1,000 segments').waitFor();
  const [agent] = await c.system.sql<{ name: string }[]>`select name from agents limit 1`;
  await field.fill(`${agent?.name}`.slice(1).toUpperCase());
  await page.getByRole('heading', { name: 'dmz' }).waitFor();
  await eventually(() => panels.count()).toBe(1);
  await page.getByRole('link', { name: agent?.name ?? '' }).waitFor();
  await field.fill('nowhere at all');
  await page.getByText('No segment or agent matches').waitFor();
  await field.press('Escape');
  await eventually(() => panels.count()).toBe(50);
  expect(unbounded()).toEqual([]);
  const segmentsAsked = asked.map(
    ({ searchParams }) => searchParams.get('segmentIds')?.split(',').length ?? 0,
  );
  expect(Math.max(...segmentsAsked)).toBe(200);
  expect(faults).toEqual([]);
});

test('the segment of a new agent is found by a part of its name, and stands until another one is picked', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const { page, faults } = await c.withSession();
  await page.goto(`${c.url}/agents`);
  const panel = page.getByRole('region', { name: 'Add an agent' });
  const change = panel.getByRole('button', { name: /^Change / });
  const before = await change.getAttribute('aria-label');
  const field = panel.getByRole('combobox', { name: 'Segment' });
  await change.click();
  await eventually(() => field.evaluate((input) => input.matches(':focus'))).toBe(true);
  await page.keyboard.press('Tab');
  expect(await change.getAttribute('aria-label')).toBe(before);
  await change.click();
  await field.fill('0654');
  await panel.getByRole('option', { name: /^site-0654/ }).waitFor();
  await page.keyboard.press('Enter');
  await panel.getByText('On a machine inside site-0654').waitFor();
  await panel.getByRole('button', { name: 'Show the commands and a token' }).click();
  await panel.getByText('Waiting for the agent').waitFor();
  expect(faults).toEqual([]);
});

test('targets are filtered by a segment, and a new one gets its segment, by searching for it', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const { page, faults, unbounded } = await watched();
  await page.goto(`${c.url}/targets`);
  const filter = page.getByRole('combobox', { name: 'Segment' });
  await filter.fill('0321');
  await page.getByRole('option', { name: 'site-0321' }).waitFor();
  await page.keyboard.press('Enter');
  await eventually(() => page.url()).toMatch(/segmentId=\d+/);
  await page.reload();
  await page.getByRole('button', { name: 'Clear site-0321' }).click();
  await eventually(() => page.url()).not.toContain('segmentId');
  await page.getByRole('button', { name: 'Add target…' }).click();
  const form = page.getByRole('dialog', { name: 'Add a target' });
  const field = form.getByRole('combobox', { name: 'Segment' });
  await field.fill('0777');
  await form.getByRole('option', { name: 'site-0777' }).waitFor();
  await page.keyboard.press('Enter');
  await form.getByRole('textbox', { name: 'Name', exact: true }).fill('far-away');
  await form.getByRole('textbox', { name: 'Host', exact: true }).fill('10.9.8.7');
  await form.getByRole('button', { name: 'Add target' }).click();
  await form.waitFor({ state: 'hidden' });
  const stored = await c.system.sql`
    select s.name from targets t join segments s on s.id = t.segment_id where t.name = 'far-away'`;
  expect(stored).toEqual([{ name: 'site-0777' }]);
  expect(unbounded()).toEqual([]);
  expect(faults).toEqual([]);
});
