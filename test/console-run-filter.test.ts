// The filter of a run's hosts and why they failed, in the console: a link shows what another person filtered by, the way
// back leads where one came from, and nothing is pushed down while it is read.
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { noBrowser as missing, StandIn } from './console-stand-in.ts';

const standIn = new StandIn();
beforeAll(() => standIn.start());
afterAll(() => standIn.stop());

const causes = (page: Page) => page.getByRole('group', { name: 'Filter hosts by why they failed' });
const field = (page: Page) => page.getByRole('textbox', { name: 'Filter hosts' });
const shownHosts = (page: Page) =>
  page.getByRole('grid', { name: 'Hosts by steps' }).locator('.name-cell[href]').allTextContents();
const place = (page: Page) => page.url().slice(standIn.url.length);
const eventually = <T>(answer: () => T) => expect.poll(answer, { timeout: 30_000 });

async function at(path: string, width = 1440): Promise<Page> {
  const page = await standIn.page({ viewport: { width, height: 850 } });
  await page.goto(`${standIn.url}/${path}`);
  return page;
}

describe.skipIf(missing !== undefined)('the filter of a run', () => {
  test('is in its address, from which another person sees the same hosts', async () => {
    const page = await at('runs/6805');
    await causes(page).getByRole('button', { name: '4 exit 100' }).click();
    await eventually(() => place(page)).toBe('/runs/6805?filter=step:2+why:exit_100');
    const hosts = ['dmz-web-01', 'dmz-web-02', 'dmz-web-03', 'dmz-web-04'];
    await eventually(() => shownHosts(page)).toEqual(hosts);

    // It stays there when a host, a step or lines are chosen.
    await page.getByRole('gridcell', { name: 'dmz-web-03' }).click();
    await page
      .getByRole('navigation', { name: 'Steps' })
      .getByRole('link', { name: /^1 drain/ })
      .click();
    await eventually(() => place(page)).toMatch(/\?filter=step:2\+why:exit_100&host=\d+&step=1$/);

    const other = await at(place(page).slice(1));
    await eventually(() => shownHosts(other)).toEqual(hosts);
    const cause = causes(other).getByRole('button', { name: '4 exit 100' });
    expect(await cause.getAttribute('aria-pressed')).toBe('true');
    await other.getByRole('region', { name: /^Output of dmz-web-03, step 1/ }).waitFor();
    await cause.click();
    await eventually(() => place(other)).toMatch(/\/runs\/6805\?host=\d+/);
    await eventually(async () => (await shownHosts(other)).length).toBeGreaterThan(hosts.length);
    await page.context().close();
    await other.context().close();
  });

  test('follows the history, to which typing adds nothing', async () => {
    const page = await at('runs');
    await page.goto(`${standIn.url}/runs/6805?filter=why:exit_1`);
    await eventually(() => shownHosts(page)).toEqual(['dmz-web-05', 'dmz-web-06']);
    await page.evaluate(
      `history.pushState(null, '', '/runs/6805?filter=dmz-web-09'); dispatchEvent(new PopStateEvent('popstate'))`,
    );
    await eventually(() => field(page).inputValue()).toBe('dmz-web-09');
    await page.getByRole('region', { name: /^Output of dmz-web-09/ }).waitFor();
    await field(page).fill('core-web-1');
    await eventually(() => place(page)).toBe('/runs/6805?filter=core-web-1');
    await field(page).fill('core-web-10');
    await eventually(() => place(page)).toBe('/runs/6805?filter=core-web-10');
    await page.goBack();
    await eventually(() => field(page).inputValue()).toBe('why:exit_1');
    await eventually(() => shownHosts(page)).toEqual(['dmz-web-05', 'dmz-web-06']);
    await page.goForward();
    await eventually(() => shownHosts(page)).toEqual(['core-web-10']);
    await page.goBack();
    await page.goBack();
    await page.getByRole('heading', { name: 'Runs', exact: true }).waitFor();
    await page.context().close();
  });

  test('of a link is left out where no host of any run could match it', async () => {
    const page = await at('runs/6805?filter=state:lost+step:x+dmz-web-0');
    await eventually(() => place(page)).toBe('/runs/6805?filter=dmz-web-0');
    await eventually(async () => (await shownHosts(page)).length).toBe(9);
    await page.goto(`${standIn.url}/runs/6805?filter=${'x'.repeat(301)}`);
    await eventually(() => place(page)).toBe('/runs/6805');
    await eventually(async () => (await shownHosts(page)).length).toBeGreaterThan(9);
    await page.context().close();
  });

  test('by a reason opens a large run as rows, which say the reasons', async () => {
    const page = await at('runs/5000?filter=why:exit_5');
    await page.getByRole('grid', { name: 'Hosts by steps' }).waitFor();
    await eventually(async () => (await shownHosts(page)).length).toBe(14);
    await page.context().close();
  });

  test('by a reason says that reasons are being read, and that they could not be', async () => {
    const page = await at('runs');
    let fail = () => {};
    const failing = new Promise<void>((resolve) => {
      fail = resolve;
    });
    await page.route('**/runs/5000/steps?*', async (route) => {
      await failing;
      await route.fulfill({ status: 500, json: { error: { code: 'internal', message: 'Internal error.' } } });
    });
    await page.goto(`${standIn.url}/runs/5000?filter=why:exit_5`);
    const reading = page.getByRole('status').getByText('Reading why hosts failed');
    await reading.waitFor();
    fail();
    await page.getByText('Why hosts failed could not be read').waitFor();
    expect(await reading.count()).toBe(0);
    await page.unrouteAll({ behavior: 'ignoreErrors' });
    await page.getByRole('button', { name: 'Try again' }).click();
    await eventually(async () => (await shownHosts(page)).length).toBe(14);
    await page.context().close();
  });

  test('is what a run again begins with, on a phone, too', async () => {
    const page = await at('runs/6805', 390);
    await causes(page).getByRole('button', { name: '2 exit 1' }).click();
    await page.getByRole('button', { name: 'Run again…' }).click();
    const again = page.getByRole('dialog', { name: 'Run Patch web tier again' });
    expect(await again.getByRole('radio', { name: 'those that the filter shows 2' }).isChecked()).toBe(true);
    await again.getByRole('button', { name: 'Continue with 2 hosts…' }).click();
    await page.getByRole('button', { name: 'Run on 2 targets' }).waitFor();
    await page.context().close();
  });
});

test('on a phone, the way back from the output of a host leads to the hosts', async ({ skip }) => {
  if (missing !== undefined) skip(missing);
  const page = await at('runs', 390);
  await page.goto(`${standIn.url}/runs/6805?filter=why:exit_1`);
  for (const name of ['dmz-web-05', 'dmz-web-06']) {
    await page.getByRole('gridcell', { name }).click();
    await page.getByRole('region', { name: `Output of ${name}` }).waitFor();
    await page.goBack();
    await eventually(() => place(page)).toBe('/runs/6805?filter=why:exit_1');
    await causes(page).waitFor();
  }
  await page.goBack();
  await page.getByRole('heading', { name: 'Runs', exact: true }).waitFor();
  await page.context().close();
});

test('all causes can be seen and chosen, also rare ones', async ({ skip }) => {
  if (missing !== undefined) skip(missing);
  const page = await at('runs/6840');
  await causes(page).waitFor();
  expect(
    await causes(page)
      .getByRole('button', { name: /^\d+ (?!more)/ })
      .count(),
  ).toBe(8);
  await causes(page).getByRole('button', { name: '32 more' }).click();
  await causes(page).getByRole('button', { name: '1 exit 39' }).click();
  await eventually(async () => (await shownHosts(page)).length).toBe(1);
  // One that is filtered by is told although the others are not.
  await causes(page).getByRole('button', { name: 'fewer causes' }).click();
  await causes(page).getByRole('button', { name: '1 exit 39', pressed: true }).waitFor();
  await page.context().close();
});

/** Lets one more host of run 6806 fail, for a reason of its own, as soon as the answer is called. */
async function withNewCause(page: Page): Promise<() => void> {
  let happen = () => {};
  const happens = new Promise<void>((resolve) => {
    happen = resolve;
  });
  await page.route('**/runs/6806/events*', async (route) => {
    await happens;
    const [targetRun, step] = [68_060_009, 6_806_000_902];
    const change = {
      seq: 101,
      at: new Date().toISOString(),
      targetRuns: [
        { id: targetRun, status: 'failed', startedAt: null, completedAt: new Date().toISOString() },
      ],
      steps: [{ id: step, status: 'failed', reason: 'exit_code', exitCode: 77 }],
    };
    const body = `event: change\nid: 101\ndata: ${JSON.stringify(change)}\n\n`;
    await route.fulfill({ body, headers: { 'content-type': 'text/event-stream' } }).catch(() => {});
  });
  return happen;
}
const failed = (page: Page, hosts: number) =>
  page
    .getByRole('group', { name: 'Filter hosts by state' })
    .getByRole('button', { name: `${hosts} failed` })
    .waitFor();

test('a cause that is new in a run is told when nobody reads what stands below', async ({ skip }) => {
  if (missing !== undefined) skip(missing);
  const page = await standIn.page({ viewport: { width: 1440, height: 850 } });
  const happen = await withNewCause(page);
  await page.goto(`${standIn.url}/runs/6806`);
  await causes(page).waitFor();
  const output = page.getByRole('region', { name: /^Output of/ });
  await output.hover();
  const before = (await output.boundingBox())?.y;
  happen();
  await failed(page, 10);
  expect(await causes(page).getByRole('button', { name: '1 exit 77' }).count()).toBe(0);
  expect((await output.boundingBox())?.y).toBe(before);
  await causes(page).hover();
  await causes(page).getByRole('button', { name: '1 exit 77' }).waitFor();
  await page.unrouteAll({ behavior: 'ignoreErrors' });
  await page.context().close();
});

test('on a phone, a cause that is new in a run leaves the hosts where they are', async ({ skip }) => {
  if (missing !== undefined) skip(missing);
  const page = await standIn.page({ viewport: { width: 390, height: 850 } });
  const happen = await withNewCause(page);
  await page.goto(`${standIn.url}/runs/6806`);
  const hosts = page.getByRole('region', { name: 'Hosts' });
  await hosts.waitFor();
  await failed(page, 9);
  const why = page.getByRole('button', { name: /^Why: / });
  await why.click({ timeout: 10_000 });
  await causes(page).getByRole('button', { name: '4 exit 100' }).waitFor();
  const before = (await hosts.boundingBox())?.y;
  happen();
  await failed(page, 10);
  await eventually(() => why.textContent()).toContain('6 causes, 1 of them new');
  expect((await hosts.boundingBox())?.y).toBe(before);
  await why.click();
  expect(await causes(page).count()).toBe(0);
  await why.click();
  await causes(page).getByRole('button', { name: '1 exit 77' }).waitFor();
  await page.unrouteAll({ behavior: 'ignoreErrors' });
  await page.context().close();
});
