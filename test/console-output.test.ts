// Output of steps in the console, in a real browser: read live, through reloads and restarts, searched, and hostile.
import type { Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { ConsoleSystem, drawnLines, eventually, hasLines, missing } from './console-browser.ts';

vi.setConfig({ testTimeout: 60_000 });

let c: ConsoleSystem;
beforeAll(async () => {
  if (missing === undefined) c = await ConsoleSystem.start();
});
afterEach(() => c?.closePages());
afterAll(() => c?.stop());

/** Line n of such an output is n, so that any line that is missing, doubled or misplaced shows. */
const numbered = (from: number, to: number) => `seq ${from} ${to}`;

test('a reload in the midst of a run keeps the output whole, and it goes on live', async ({ skip }) => {
  if (missing !== undefined) skip(missing);
  const gate = await c.system.gate();
  const { id } = await c.system.run([`${numbered(1, 3000)}; ${gate.wait}; ${numbered(3001, 3500)}`]);
  const { page, faults } = await c.withSession();
  await page.goto(`${c.url}/runs/${id}`);
  await hasLines(page, 3000);
  await page.reload();
  await hasLines(page, 3000);
  await gate.open();
  await hasLines(page, 3500);
  await page.getByText('complete, no gaps').waitFor();
  await expectWhole(page, 3500);
  expect(faults).toEqual([]);
});

test('a server that is killed in the midst of a run is waited for, and its output goes on without a gap', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const gate = await c.system.gate();
  const { id } = await c.system.run([`${numbered(1, 500)}; ${gate.wait}; ${numbered(501, 900)}`]);
  const { page, faults } = await c.withSession();
  await page.goto(`${c.url}/runs/${id}`);
  await hasLines(page, 500);
  await c.system.server.kill9();
  await page
    .locator('footer')
    .getByText(/^Reconnecting, as of/)
    .waitFor();
  // What was read stays, and what needs the server can't be asked for.
  expect((await drawnLines(page)).at(-1)).toEqual({ number: 500, text: '500' });
  await page.keyboard.press('c');
  await eventually(() => page.getByRole('button', { name: `Cancel run ${id}` }).isDisabled()).toBe(true);
  await page.keyboard.press('Escape');
  await c.system.server.start();
  // What a browser says when its network is back; without it the page asks again when its time has come.
  await page.evaluate("dispatchEvent(new Event('online'))");
  await gate.open();
  await hasLines(page, 900);
  await page.getByText('complete, no gaps').waitFor();
  await page.locator('footer').getByText('Live').waitFor();
  await expectWhole(page, 900);
  expect(faults).toEqual([]);
});

test('output that could not be read is not called followed, and goes on by itself', async ({ skip }) => {
  if (missing !== undefined) skip(missing);
  const gate = await c.system.gate();
  const { id } = await c.system.run([`${numbered(1, 20)}; ${gate.wait}; ${numbered(21, 40)}`]);
  const { page, faults } = await c.withSession();
  const output = /\/steps\/\d+\/output/;
  const unavailable = { error: { code: 'unavailable', message: 'No database.', requestId: 'r' } };
  await page.route(output, (route) => route.fulfill({ status: 503, json: unavailable }));
  await page.goto(`${c.url}/runs/${id}`);
  await page.getByText('The output could not be loaded.').waitFor();
  await page.locator('.live').getByText('Not loading').waitFor();
  expect(await page.locator('.live').textContent()).not.toMatch(/Following|complete/);
  await page.unroute(output);
  await hasLines(page, 20);
  await page.locator('.live').getByText('Following').waitFor();
  await gate.open();
  await hasLines(page, 40);
  await expectWhole(page, 40);
  expect(faults).toEqual([]);
});

test('output is followed while its window grows, and until its reader scrolls up', async ({ skip }) => {
  if (missing !== undefined) skip(missing);
  const { id } = await c.system.run(['for part in $(seq 600); do seq 1000; sleep 0.02; done']);
  const { page, faults } = await c.withSession();
  await page.goto(`${c.url}/runs/${id}`);
  const foot = page.locator('.live');
  await foot.getByText('Following').waitFor();
  const frames = 'new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))';
  for (let turn = 0; turn < 12; turn += 1) {
    const said = await foot.textContent();
    await page.setViewportSize({ width: 1440, height: turn % 2 === 0 ? 600 : 1000 });
    await page.evaluate(frames);
    await eventually(async () => (await foot.textContent()) !== said).toBe(true);
  }
  expect(await foot.textContent()).toContain('Following');
  await page.locator('.lines').hover();
  await page.mouse.wheel(0, -2000);
  await foot.getByText(/^Paused/).waitFor();
  expect(faults).toEqual([]);
});

test('what was looked for in one output is looked for in the next one, and what was not found there is not said of it', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const { id, reader } = await c.system.run(['echo fine', 'echo ERROR: no; echo a timeout; echo a timeout']);
  expect(await reader.end()).toBe('succeeded');
  const { page, faults } = await c.withSession();
  await page.goto(`${c.url}/runs/${id}`);
  await page.getByRole('gridcell', { name: /^step 1: succeeded/ }).click();
  await hasLines(page, 1);
  await page.keyboard.press('e');
  await page.getByRole('button', { name: 'No error found' }).waitFor();
  const finder = page.getByRole('textbox', { name: 'Find in output' });
  const found = page.locator('.find').getByRole('status');
  await finder.fill('timeout');
  await found.getByText('none').waitFor();

  await page.getByRole('gridcell', { name: /^step 2: succeeded/ }).click();
  await hasLines(page, 3);
  await found.getByText('2 found').waitFor();
  await page.getByRole('button', { name: 'First error' }).waitFor();
  await finder.press('Enter');
  await found.getByText('1 of 2').waitFor();
  expect(faults).toEqual([]);
});

test('a search that ends after its reader has gone on leads to no line of the next output', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const { id, reader } = await c.system.run(['echo a timeout', 'echo a timeout; echo a timeout']);
  expect(await reader.end()).toBe('succeeded');
  const { page, faults } = await c.withSession();
  // As in a large output: the search stops for breath after each piece, and goes on when the test says.
  await page.addInitScript(`{
    const [later, now] = [window.setTimeout, performance.now.bind(performance)];
    window.waiting = [];
    window.isLarge = false;
    let ms = 0;
    performance.now = () => now() + (window.isLarge ? (ms += 100) : ms);
    window.setTimeout = (work, delay, ...rest) =>
      window.isLarge && delay === 0 ? window.waiting.push(work) : later(work, delay, ...rest);
  }`);
  await page.goto(`${c.url}/runs/${id}`);
  await page.getByRole('gridcell', { name: /^step 1: succeeded/ }).click();
  await hasLines(page, 1);
  await page.evaluate('window.isLarge = true');
  await page.getByRole('textbox', { name: 'Find in output' }).fill('timeout');
  await eventually(() => page.evaluate('window.waiting.length')).toBeGreaterThan(0);
  await page.evaluate('window.isLarge = false');
  await page.getByRole('gridcell', { name: /^step 2: succeeded/ }).click();
  await hasLines(page, 2);
  const found = page.locator('.find').getByRole('status');
  await found.getByText('2 found').waitFor();
  await page.evaluate('for (const work of window.waiting) work()');
  // The key comes after the end of that search. If it had led to a match, this would be the second one.
  await page.getByRole('textbox', { name: 'Find in output' }).press('Enter');
  await found.getByText('1 of 2').waitFor();
  expect(faults).toEqual([]);
});

test('hostile output is text: no element, script, link, title or direction of it has any effect', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const { id, reader } = await c.system.run([
    [
      `printf '%s\\n' '<script>document.title="owned";window.owned=1</script>'`,
      `printf '%s\\n' '<img src=x onerror="window.owned=1"><a href="https://evil.example/">a link</a>'`,
      `printf '\\033]0;owned\\007\\033]8;;https://evil.example/\\007click\\033]8;;\\007 \\033[2J\\033[Hstays\\n'`,
      `printf 'user\\342\\200\\256gpj.exe \\331\\034 \\033[31mred\\033[0m\\n'`,
      `printf 'javascript:alert(1) https://evil.example/\\n' >&2`,
    ].join('\n'),
  ]);
  expect(await reader.end()).toBe('succeeded');
  const { page, faults } = await c.withSession();
  await page.goto(`${c.url}/runs/${id}`);
  await hasLines(page, 5);
  const texts = (await drawnLines(page)).map((line) => line.text);
  expect(texts.toSorted()).toEqual(
    [
      '<script>document.title="owned";window.owned=1</script>',
      '<img src=x onerror="window.owned=1"><a href="https://evil.example/">a link</a>',
      'click stays',
      'user<U+202E>gpj.exe \ufffd␜ red',
      'javascript:alert(1) https://evil.example/',
    ].toSorted(),
  );
  expect(
    await page.locator('.lines').locator('script, img, iframe, svg, [onerror], [style*="url"]').count(),
  ).toBe(0);
  const links = await page
    .locator('.lines a')
    .evaluateAll((all) => all.map((link) => (link as unknown as { href: string }).href));
  expect(links.filter((href) => !href.startsWith(`${c.url}/runs/${id}?`))).toEqual([]);
  expect(await page.title()).toBe(`${await jobName(id)}, run ${id} · OpsConductor`);
  expect(await page.evaluate('window.owned')).toBeUndefined();
  expect(await page.locator('.lines .text .f1').textContent()).toBe('red');
  expect(faults).toEqual([]);
});

async function expectWhole(page: Page, last: number): Promise<void> {
  for (const share of [0, 0.3, 0.7, 1]) {
    await page.locator('.lines').evaluate((lines, to) => {
      lines.scrollTop = to * (lines.scrollHeight - lines.clientHeight);
    }, share);
    await eventually(async () => {
      const lines = await drawnLines(page);
      const near = lines.some((line) => Math.abs(line.number - Math.max(1, share * last)) < 60);
      return near && lines.every((line) => line.text === String(line.number));
    }).toBe(true);
  }
  expect((await drawnLines(page)).at(-1)?.number).toBe(last);
}

async function jobName(runId: number): Promise<string> {
  return (await c.system.api.get<{ jobName: string }>(`/api/v1/runs/${runId}`)).body.jobName;
}
