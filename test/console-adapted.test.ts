// The console as people adapt it to their eyes: with the colors of their system, more space in texts, more contrast.
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { noBrowser as missing, StandIn } from './console-stand-in.ts';

const standIn = new StandIn();
beforeAll(() => standIn.start());
afterAll(() => standIn.stop());

const ground = (page: Page, selector: string) =>
  page
    .locator(selector)
    .first()
    .evaluate((element) => element.ownerDocument.defaultView?.getComputedStyle(element).backgroundColor);

/** Keeps its own colors: it is told by nothing else, or has no more than a ground. */
const keepsColors = (page: Page, selector: string) =>
  page
    .locator(selector)
    .first()
    .evaluate((element) =>
      element.ownerDocument.defaultView?.getComputedStyle(element).getPropertyValue('forced-color-adjust'),
    );

describe.skipIf(missing !== undefined)('with the colors of the system', () => {
  test.for([
    ['runs/6805?filter=step:2+why:exit_100', '[aria-label="Filter hosts by why they failed"] button'],
    ['runs?status=failed', '[aria-label="Filter by state"] button'],
    ['runs/5000', '[aria-label="View"] button'],
    ['runs/5000', '.questions button'],
  ])('what is chosen on %s is told by its ground: %s', async ([path = '', button = '']) => {
    const page = await standIn.page({ viewport: { width: 1280, height: 800 }, forcedColors: 'active' });
    await page.goto(`${standIn.url}/${path}`);
    await page.locator(`${button}[aria-pressed="true"]`).waitFor();
    const chosen = await ground(page, `${button}[aria-pressed="true"]`);
    await page.locator('body').evaluate((body) => {
      body.style.setProperty('forced-color-adjust', 'none');
      body.style.background = 'Highlight';
    });
    expect(chosen).toBe(await ground(page, 'body'));
    await page.context().close();
  });

  test('the words of what is chosen can be read, and the marks in glyphs seen', async () => {
    const page = await standIn.page({ viewport: { width: 1280, height: 800 }, forcedColors: 'active' });
    await page.goto(`${standIn.url}/targets?open=1`);
    await page.locator('button[aria-pressed="true"] .chip').first().waitFor();
    expect(await ground(page, 'button[aria-pressed="true"] .chip')).toBe('rgba(0, 0, 0, 0)');
    await page.goto(`${standIn.url}/runs/6805`);
    const glyph = page.locator('.cell.loud .glyph').first();
    const cut = await glyph.evaluate((element) =>
      element.ownerDocument.defaultView?.getComputedStyle(element).getPropertyValue('--on'),
    );
    expect(cut).toBe('Canvas');
    await page.context().close();
  });

  test('the step that has the focus can be told from the one that is shown', async () => {
    const page = await standIn.page({ viewport: { width: 1280, height: 800 }, forcedColors: 'active' });
    await page.goto(`${standIn.url}/runs/6805`);
    const shown = page.locator('.cell.current');
    // Two colors of a system may be much alike.
    const outline = () =>
      shown.evaluate((element) => {
        const style = element.ownerDocument.defaultView?.getComputedStyle(element);
        return `${style?.outlineStyle} ${style?.outlineWidth}`;
      });
    const before = await outline();
    // Somebody uses the keyboard.
    await page.keyboard.press('Tab');
    await shown.focus();
    expect(await outline()).not.toBe(before);
    await page.context().close();
  });

  test('the tiles of running hosts and the days of a job’s statistics can be seen', async () => {
    const page = await standIn.page({ viewport: { width: 1280, height: 800 }, forcedColors: 'active' });
    await page.goto(`${standIn.url}/runs/5000`);
    await page.getByRole('region', { name: 'Map of the hosts' }).waitFor();
    expect(await keepsColors(page, '.tiles.tinted i')).toBe('none');
    await page.goto(`${standIn.url}/jobs/1/statistics`);
    await page.locator('.days .ok').first().waitFor({ state: 'attached' });
    expect(await keepsColors(page, '.days .ok')).toBe('none');
    await page.context().close();
  });
});

// WCAG 2.2, 1.4.12.
const spaced =
  '* { line-height: 1.5 !important; letter-spacing: 0.12em !important; word-spacing: 0.16em !important } p { margin-bottom: 2em !important }';

test('with more space in texts, rows of jobs do not run into each other', async ({ skip }) => {
  if (missing !== undefined) skip(missing);
  const page = await standIn.page({ viewport: { width: 1280, height: 800 }, bypassCSP: true });
  await page.goto(`${standIn.url}/jobs`);
  await page.locator('.job-row').nth(1).waitFor();
  await page.addStyleTag({ content: spaced });
  const over = await page
    .locator('.job-row .name')
    .evaluateAll(
      (cells) =>
        cells.filter(
          (cell) =>
            cell.getBoundingClientRect().height > (cell.parentElement?.getBoundingClientRect().height ?? 0),
        ).length,
    );
  expect(over).toBe(0);
  await page.context().close();
});

test('whoever asks for more contrast gets it: labels have the color of text', async ({ skip }) => {
  if (missing !== undefined) skip(missing);
  for (const [contrast, isSame] of [
    ['no-preference', false],
    ['more', true],
  ] as const) {
    const page = await standIn.page({ viewport: { width: 1280, height: 800 }, contrast });
    await page.goto(`${standIn.url}/runs/6805`);
    const label = page.locator('.summary .figures').first();
    const color = await label.evaluate(
      (element) => element.ownerDocument.defaultView?.getComputedStyle(element).color,
    );
    const text = await page
      .locator('body')
      .evaluate((element) => element.ownerDocument.defaultView?.getComputedStyle(element).color);
    expect(color === text, contrast).toBe(isSame);
    await page.context().close();
  }
});
