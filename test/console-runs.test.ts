// Runs in the console, in a real browser: from the sign-in link to the last line, through reloads and restarts.
import type { Page, Route } from 'playwright-core';
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

test('a sign-in link signs in once: its code leaves the address, and a second use says what to do', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const link = await c.signInLink();
  const first = await c.newPage();
  await first.page.goto(link);
  await first.page.getByRole('heading', { name: 'Jobs', exact: true }).waitFor();
  expect(first.page.url()).toBe(`${c.url}/`);
  // Not by going back either.
  await first.page.goBack();
  expect(first.page.url()).not.toContain('code=');

  const second = await c.newPage();
  await second.page.goto(link);
  await second.page.getByText('The link did not sign you in.').waitFor();
  // Nobody has given it to whoever started the server.
  await second.page.getByText('it prints a new one each time it starts').waitFor();
  expect(second.page.url()).not.toContain('code=');
  await second.page.getByRole('button', { name: 'Sign in' }).waitFor();
  expect(await second.page.getByText('You are still signed in').count()).toBe(0);

  // Whoever is signed in already stays so, also if the link is opened on the page that the console is at.
  await first.page.goto(`${c.url}/`);
  await first.page.getByRole('heading', { name: 'Jobs', exact: true }).waitFor();
  await first.page.goto(link);
  await first.page.getByText('You are still signed in as admin.').waitFor();
  await first.page.getByRole('button', { name: 'Continue as admin' }).click();
  await first.page.getByRole('heading', { name: 'Jobs', exact: true }).waitFor();
  expect([...first.faults, ...second.faults]).toEqual([]);
});

test('a run is started, its output is read live, and the page goes along with the step that runs', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const [first, second] = [await c.system.gate(), await c.system.gate()];
  const job = await c.system.api.made<{ id: number }>('/api/v1/jobs', {
    name: 'Greet the host',
    steps: [
      { name: 'hello', type: 'ssh.exec', config: { command: `echo hello; ${first.wait}` } },
      { name: 'goodbye', type: 'ssh.exec', config: { command: `echo goodbye; ${second.wait}; exit 3` } },
      { name: 'never', type: 'ssh.exec', config: { command: 'echo never' } },
    ],
  });
  const { page, faults } = await c.signedIn();
  await page.goto(`${c.url}/jobs/${job.id}`);
  await page.getByRole('heading', { name: 'Greet the host' }).waitFor();
  await page.keyboard.press('r');
  await page.getByRole('checkbox', { name: /^host / }).check();
  await page.getByRole('button', { name: 'Run on 1 target' }).click();

  // Both are shown before the step ends: what it wrote, and that it runs.
  await page.locator('.lines').getByText('hello', { exact: true }).waitFor();
  await page.getByRole('gridcell', { name: /^hello: running, 0:0\d/ }).waitFor();
  await first.open();
  await page.locator('.lines').getByText('goodbye', { exact: true }).waitFor();
  expect(await drawnLines(page)).toEqual([{ number: 1, text: 'goodbye' }]);

  // Whoever picks a step stays with it, and is led back.
  await page.getByRole('gridcell', { name: /^hello: succeeded/ }).click();
  await page.locator('.lines').getByText('hello', { exact: true }).waitFor();
  await page.getByRole('button', { name: 'Step 2 is running' }).waitFor();
  await second.open();
  await page.getByRole('gridcell', { name: 'goodbye: failed, exit 3' }).waitFor();
  await page.getByRole('gridcell', { name: 'never: skipped' }).waitFor();
  expect(await drawnLines(page)).toEqual([{ number: 1, text: 'hello' }]);
  await page.locator('.title').getByText('failed').waitFor();

  await page.getByRole('button', { name: 'SSH connections…' }).click();
  const dialog = page.getByRole('dialog', { name: /^SSH connections of run / });
  await dialog.getByRole('cell', { name: '14 B', exact: true }).waitFor();
  const [host, , , ...carried] = await dialog.getByRole('cell').allInnerTexts();
  expect([host, ...carried]).toEqual(['host', '2', '0', '14 B']);
  await dialog.getByRole('button', { name: 'Close', exact: true }).last().click();
  await dialog.waitFor({ state: 'detached' });
  expect(faults).toEqual([]);
});

test('a start whose answer is lost is not told as none, and asked again in another dialog it is the same run', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const job = await c.system.api.made<{ id: number }>('/api/v1/jobs', {
    name: 'Start it once',
    steps: [{ name: 'hello', type: 'ssh.exec', config: { command: 'echo hello' } }],
  });
  const { page, faults } = await c.signedIn();
  const begin = async (told = '') => {
    await page.keyboard.press('r');
    if (told !== '') await page.getByRole('dialog').getByText(told).waitFor();
    await page.getByRole('checkbox', { name: /^host / }).check();
    await page.getByRole('button', { name: 'Run on 1 target' }).click();
  };
  await page.goto(`${c.url}/jobs/${job.id}`);
  await page.getByRole('heading', { name: 'Start it once' }).waitFor();
  const start = `**/api/v1/jobs/${job.id}/run`;
  await page.route(start, async (route) => {
    await route.fetch();
    await route.abort();
  });
  await begin();
  const note = page.getByRole('dialog').getByRole('alert');
  await note.getByText('It is not known whether the run started.').waitFor();
  expect(await note.textContent()).not.toMatch(/did not start|by itself/);
  await page.keyboard.press('Escape');
  await page.unroute(start);

  await page.getByRole('dialog').waitFor({ state: 'detached' });
  await begin('If you start the same here, it is that run');
  await page.locator('.title').getByText('succeeded').waitFor();
  const { body } = await c.system.api.get<{ items: { id: number }[] }>(`/api/v1/runs?jobId=${job.id}`);
  expect(body.items).toHaveLength(1);
  expect(page.url()).toContain(`/runs/${body.items[0]?.id}`);

  // What it was started as is answered: the next is a run of its own.
  await page.goto(`${c.url}/jobs/${job.id}`);
  await page.getByRole('heading', { name: 'Start it once' }).waitFor();
  await begin();
  await page.locator('.title').getByText('succeeded').waitFor();
  expect(page.url()).not.toContain(`/runs/${body.items[0]?.id}`);
  expect(faults).toEqual([]);
});

test('a run is run again on all of its hosts: until they are read nobody is offered some of them', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const gate = await c.system.gate();
  const { id } = await c.system.run([`echo begun; ${gate.wait}`]);
  const { page, faults } = await c.signedIn();
  let release = () => {};
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  const reading = async (route: Route) => {
    await released;
    await route.continue();
  };
  await page.route(new RegExp(`/runs/${id}/steps\\?`), reading, { times: 1 });
  await page.goto(`${c.url}/runs/${id}`);
  const again = page.getByRole('button', { name: 'Run again…' });
  await again.waitFor();
  expect(await again.isDisabled()).toBe(true);
  await page.keyboard.press('r');
  expect(await page.getByRole('dialog').count()).toBe(0);
  release();
  await eventually(() => again.isDisabled()).toBe(false);
  await page.keyboard.press('r');
  await page.getByRole('dialog').getByRole('button', { name: 'Run on 1 target' }).waitFor();
  await page.keyboard.press('Escape');
  await gate.open();
  await page.locator('.title').getByText('succeeded').waitFor();
  expect(faults).toEqual([]);
});

test('an ended run is purged after a question; another browser that shows it is told that it is gone', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const gate = await c.system.gate();
  const { id } = await c.system.run([`echo up; ${gate.wait}`]);
  const [mine, other] = [await c.signedIn(), await c.signedIn()];
  for (const { page } of [mine, other]) {
    await page.goto(`${c.url}/runs/${id}`);
    await page.locator('.lines').getByText('up').waitFor();
    expect(await page.getByRole('button', { name: 'Purge…' }).count()).toBe(0);
  }
  await gate.open();
  const { page } = mine;
  await page.getByRole('button', { name: 'Purge…' }).click();
  await page.getByRole('button', { name: 'Keep it' }).click();
  expect((await c.system.api.get(`/api/v1/runs/${id}`)).status).toBe(200);
  await page.getByRole('button', { name: 'Purge…' }).click();
  await page.getByRole('button', { name: `Purge run ${id}` }).click();
  await page.waitForURL(`${c.url}/runs`);
  await page.getByRole('heading', { name: 'Runs', exact: true }).waitFor();
  expect(await page.getByText(`run ${id}`, { exact: true }).count()).toBe(0);
  expect((await c.system.api.get(`/api/v1/runs/${id}`)).status).toBe(404);
  // Who wants to purge it, too, is told.
  await other.page.getByRole('button', { name: 'Purge…' }).click();
  await other.page.getByRole('button', { name: `Purge run ${id}` }).click();
  await other.page.getByText(`Run ${id} not found.`).waitFor();
  expect(mine.faults).toEqual([]);
});

test('a reload in the midst of a run keeps the output whole, and it goes on live', async ({ skip }) => {
  if (missing !== undefined) skip(missing);
  const gate = await c.system.gate();
  const { id } = await c.system.run([`${numbered(1, 3000)}; ${gate.wait}; ${numbered(3001, 3500)}`]);
  const { page, faults } = await c.signedIn();
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
  const { page, faults } = await c.signedIn();
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
  const { page, faults } = await c.signedIn();
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
  const { page, faults } = await c.signedIn();
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
  const { page, faults } = await c.signedIn();
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
  const { page, faults } = await c.signedIn();
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
  const { page, faults } = await c.signedIn();
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

test('among a hundred steps the chosen one is in view, outline and all, and only those in view are drawn', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const t = await hundredSteps();
  const { page, faults } = await c.signedIn();
  await page.goto(`${c.url}/runs/${t.id}?host=${t.host}&step=100`);
  await page.getByRole('gridcell', { name: 'step 100: pending' }).waitFor();
  await eventually(() => outlineIsWhole(page)).toBe(true);
  await eventually(() => stepTabIsWhole(page)).toBe(true);
  expect(await page.locator('.host .cell').count()).toBeLessThan(60);
  await page.keyboard.press('h');
  await page.getByRole('gridcell', { name: 'step 99: pending' }).waitFor();
  expect(page.url()).toContain('step=99');
  // Arrows, held down, lead to cells that were not drawn yet, each whole in view.
  await page.locator('.host .cell.current').focus();
  for (let press = 0; press < 45; press += 1) await page.keyboard.press('ArrowLeft');
  const focused = page.locator('.host .cell:focus');
  await eventually(() => focused.getAttribute('aria-label')).toBe('step 54: pending');
  await eventually(() => outlineIsWhole(page, ':focus')).toBe(true);
  await t.end();
  expect(faults).toEqual([]);
});

test('on a small screen the way back leads to the same host, its step whole in view', async ({ skip }) => {
  if (missing !== undefined) skip(missing);
  const t = await hundredSteps();
  const { page, faults } = await c.signedIn(390);
  await page.goto(`${c.url}/runs/${t.id}?host=${t.host}&step=100`);
  await eventually(() => stepTabIsWhole(page)).toBe(true);
  await page.getByRole('link', { name: 'All hosts' }).click();
  await page.getByRole('gridcell', { name: /^step 1: running/ }).waitFor();
  await eventually(() => outlineIsWhole(page)).toBe(true);
  await t.end();
  expect(faults).toEqual([]);
});

test('keys: `a` leads to adding an agent, `?` shows all of them, and none acts while one types', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const { page, faults } = await c.signedIn();
  await page.keyboard.press('/');
  await page.keyboard.type('a?');
  expect(await page.getByRole('searchbox').inputValue()).toBe('a?');
  await page.goto(`${c.url}/agents`);
  const lines = page.getByRole('button', { name: 'Show the commands and a token' });
  await lines.waitFor();
  await page.keyboard.press('a');
  await eventually(() => lines.evaluate((button) => button.matches(':focus'))).toBe(true);
  await page.keyboard.press('?');
  const dialog = page.getByRole('dialog', { name: 'Keyboard shortcuts' });
  const here = await dialog.getByRole('region', { name: 'On this page' }).textContent();
  const elsewhere = await dialog.getByRole('region', { name: 'On other pages' }).textContent();
  expect(here).toMatch(/a\s+add an agent/);
  expect(elsewhere).toMatch(/c\s+cancel the run \(asks\)/);
  await page.keyboard.press('Escape');
  await page.goto(`${c.url}/targets`);
  // There is something to add to once the segments are known, which is told apart from the list.
  await page.getByRole('button', { name: 'Add target…' }).waitFor();
  await page.keyboard.press('a');
  await page.getByRole('dialog', { name: 'Add a target' }).waitFor();
  expect(faults).toEqual([]);
});

test('another page begins at its top, is told of, and has the focus where the link that led to it is gone', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const { page, faults } = await c.signedIn();
  await page.locator('header').getByRole('link', { name: 'Agents' }).press('Enter');
  await page.getByRole('heading', { name: 'Agents', exact: true }).waitFor();
  const main = page.locator('main');
  await eventually(() => main.evaluate((element) => element.matches(':focus'))).toBe(true);
  await eventually(() => page.locator('[role="status"][aria-live="polite"]').textContent()).toBe('Agents');
  await page.getByRole('link', { name: 'agent-a' }).press('Enter');
  await page.getByRole('heading', { name: 'agent-a' }).waitFor();
  await eventually(() => main.evaluate((element) => element.matches(':focus'))).toBe(true);
  expect(faults).toEqual([]);
});

test('a password manager is told whose password is set', async ({ skip }) => {
  if (missing !== undefined) skip(missing);
  const { page } = await c.signedIn();
  await page.goto(`${c.url}/account`);
  await page.getByLabel('New password').waitFor();
  const form = page.locator('form:has([autocomplete="new-password"])');
  expect(await form.locator('[autocomplete="username"]').inputValue()).toBe('admin');
  // Whoever has none yet was led here to set it.
  await page.getByRole('region', { name: 'Sessions' }).waitFor();
  expect(await page.locator('.column h2').first().textContent()).toBe('Password');
});

/** Every line drawn, at the beginning, in the midst and at the end, is the one that its number says. */
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

/** A run of a hundred steps that stays at its first one until it is ended. */
async function hundredSteps() {
  const gate = await c.system.gate();
  const { id } = await c.system.run([gate.wait, ...Array.from({ length: 99 }, () => 'true')]);
  const [step] = await c.system.steps(id);
  const end = async () => {
    await c.system.api.post(`/api/v1/executor/cancel/${id}`);
    await gate.open();
  };
  return { id, host: step?.targetRunId, end };
}

/** The chosen cell with its outline of 3 px is within the list, and no cell at the sides covers it. */
function outlineIsWhole(page: Page, which = '.current'): Promise<boolean> {
  return page.locator(`.host .cell${which}`).evaluate((cell) => {
    const row = cell.closest('.host');
    const list = cell.closest('.rows')?.getBoundingClientRect();
    const left = row?.querySelector('.name-cell')?.getBoundingClientRect().right ?? Number.NaN;
    const right = row?.querySelector('.time')?.getBoundingClientRect().left ?? Number.NaN;
    const at = cell.getBoundingClientRect();
    const page = cell.closest('main')?.getBoundingClientRect();
    const bottom = Math.min(list?.bottom ?? Number.NaN, page?.bottom ?? Number.NaN);
    return (
      at.left - 3 >= left &&
      at.right + 3 <= right &&
      at.top - 3 >= (list?.top ?? Number.NaN) &&
      at.bottom + 3 <= bottom
    );
  });
}

function stepTabIsWhole(page: Page): Promise<boolean> {
  return page.locator('nav[aria-label="Steps"] [aria-current]').evaluate((tab) => {
    const [at, list] = [tab.getBoundingClientRect(), tab.parentElement?.getBoundingClientRect()];
    return list !== undefined && at.left >= list.left - 1 && at.right <= list.right + 1;
  });
}

async function jobName(runId: number): Promise<string> {
  return (await c.system.api.get<{ jobName: string }>(`/api/v1/runs/${runId}`)).body.jobName;
}
