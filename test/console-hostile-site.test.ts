// What another site can't do to someone who is signed in: shown in the browser that would be fooled.
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { BrowserContext, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { ConsoleSystem, missing } from './console-browser.ts';

vi.setConfig({ testTimeout: 60_000 });

/** Both names lead to this machine in this browser, as an attacker's own DNS would have them. */
const [evilHost, reboundHost] = ['evil.example', 'rebound.example'];
let c: ConsoleSystem;
let evil: Server;
let evilUrl: string;

beforeAll(async () => {
  if (missing !== undefined) return;
  c = await ConsoleSystem.start([
    `--host-resolver-rules=MAP ${evilHost} 127.0.0.1,MAP ${reboundHost} 127.0.0.1`,
  ]);
  evil = createServer((_request, response) => {
    response.writeHead(200, { 'Content-Type': 'text/html' }).end('<!doctype html><title>Win a prize</title>');
  }).listen(0, '127.0.0.1');
  await once(evil, 'listening');
  evilUrl = `http://${evilHost}:${(evil.address() as AddressInfo).port}/`;
});
afterEach(() => c?.closePages());
afterAll(async () => {
  evil?.close();
  await c?.stop();
});

/** A page of the attacker's in the browser of someone who is signed in. */
async function visit(url = evilUrl): Promise<Page> {
  const { page } = await c.signedIn();
  const other = await (page.context() as BrowserContext).newPage();
  await other.goto(url);
  return other;
}

const categories = async () => Number((await c.system.sql`select count(*) as n from categories`)[0]?.n);

test.for(['another site', 'another port of the same host'])(
  'a form and a fetch that %s sends do nothing, and its answer can’t be read',
  async (where, { skip }) => {
    if (missing !== undefined) skip(missing);
    const page = await visit(
      where === 'another site' ? evilUrl : evilUrl.replace(evilHost, new URL(c.url).hostname),
    );
    const before = await categories();
    const sent = await page.evaluate(async (url) => {
      const body = JSON.stringify({ name: 'owned' });
      const outcomes: string[] = [];
      for (const init of [
        { mode: 'no-cors', credentials: 'include', method: 'POST', body },
        { credentials: 'include', method: 'POST', body, headers: { 'Content-Type': 'application/json' } },
        { credentials: 'include' },
      ] as RequestInit[]) {
        outcomes.push(
          await fetch(url, init).then(
            (reply) => reply.type,
            () => 'refused',
          ),
        );
      }
      return outcomes;
    }, `${c.url}/api/v1/categories`);
    // Not even an opaque answer: Cross-Origin-Resource-Policy keeps it from the page.
    expect(sent).toEqual(['refused', 'refused', 'refused']);
    const answered = page.waitForResponse((reply) => reply.url().endsWith('/api/v1/categories'));
    await page.locator('body').evaluate((body, url) => {
      const { ownerDocument: document } = body;
      const form = document.createElement('form');
      Object.assign(form, { method: 'POST', action: url, enctype: 'text/plain' });
      const field = document.createElement('input');
      Object.assign(field, { name: '{"name":"owned","x":"', value: '"}' });
      form.append(field);
      document.body.append(form);
      form.submit();
    }, `${c.url}/api/v1/categories`);
    expect([401, 403]).toContain((await answered).status());
    expect(await categories()).toBe(before);
  },
);

test('a name that an attacker points at the server is refused, so its page is never of our origin', async ({
  skip,
}) => {
  if (missing !== undefined) skip(missing);
  const { page } = await c.withSession();
  for (const path of ['/', '/api/v1/me', '/api/v1/categories']) {
    const reply = await page.goto(`http://${reboundHost}:${new URL(c.url).port}${path}`);
    expect(reply?.status()).toBe(421);
  }
});

test('the console can’t be shown in another site’s frame', async ({ skip }) => {
  if (missing !== undefined) skip(missing);
  const page = await visit();
  const refused = page.waitForEvent('console', (message) => /frame-ancestors/.test(message.text()));
  await page.locator('body').evaluate((body, url) => {
    const { ownerDocument: document } = body;
    const frame = document.createElement('iframe');
    frame.src = url;
    document.body.append(frame);
  }, c.url);
  await refused;
});

test('a script that gets into a page does not run', async ({ skip }) => {
  if (missing !== undefined) skip(missing);
  const { page } = await c.signedIn();
  const refused = page.waitForEvent('console', (message) => /Content Security Policy/i.test(message.text()));
  await page.locator('body').evaluate((body) => {
    const { ownerDocument: document } = body;
    const script = document.createElement('script');
    script.textContent = 'document.title = "owned"';
    document.body.append(script);
  });
  await refused;
  expect(await page.title()).not.toBe('owned');
});

test('a session that was planted before signing in is not the one that is signed in', async ({ skip }) => {
  if (missing !== undefined) skip(missing);
  const { page } = await c.newPage();
  const context = page.context();
  // The name is known once somebody has signed in; the value is the attacker's.
  const { page: own } = await c.signedIn();
  const [real] = await own.context().cookies();
  const planted = 'p'.repeat(43);
  await context.addCookies([{ name: real?.name ?? '', value: planted, url: c.url }]);
  await page.goto(await c.signInLink());
  await page.getByRole('heading', { name: 'Jobs', exact: true }).waitFor();
  const after = (await context.cookies()).find((cookie) => cookie.name === real?.name);
  expect(after?.value).not.toBe(planted);
  expect(after).toMatchObject({ httpOnly: true, sameSite: 'Strict' });
  const reply = await fetch(`${c.url}/api/v1/me`, { headers: { Cookie: `${real?.name}=${planted}` } });
  expect(reply.status).toBe(401);
});
