// The console as a person uses it: the real server, a real agent and target, and Chromium.
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { expect } from 'vitest';
import { administratorName } from '../server/src/auth/installation/bootstrap-administrator.ts';
import { createSignInCode } from '../server/src/auth/sign-in/sign-in-codes.ts';
import { closeContexts, noBrowser, sharedBrowser, startBrowser } from './support/browser.ts';
import { buildConsole } from './support/server-and-agents.ts';
import { type SystemOptions, setup, type TestSystem } from './support/system.ts';

const waitMs = 30_000;
/** Why there is no browser here. */
export const missing = noBrowser;

export class ConsoleSystem {
  readonly system: TestSystem;
  readonly #browser: Browser;
  readonly #isOwnBrowser: boolean;
  readonly #contexts: BrowserContext[] = [];

  private constructor(system: TestSystem, browser: Browser, isOwnBrowser: boolean) {
    this.system = system;
    this.#browser = browser;
    this.#isOwnBrowser = isOwnBrowser;
  }

  /** `args`: of a browser that no other file uses. */
  static async start(args: readonly string[] = [], options: SystemOptions = {}): Promise<ConsoleSystem> {
    await buildConsole();
    const system = await setup(options);
    const browser = args.length === 0 ? await sharedBrowser() : await startBrowser(args);
    return new ConsoleSystem(system, browser, args.length > 0);
  }

  get url(): string {
    return this.system.api.url;
  }

  /** A link that signs in once. */
  async signInLink(name = administratorName): Promise<string> {
    const deps = { sql: this.system.sql, now: () => new Date() };
    const { code } = await createSignInCode(deps, name);
    return `${this.url}/#code=${code}`;
  }

  /** A browser of its own, that nobody has signed in with. */
  async newPage(width = 1440): Promise<{ page: Page; faults: string[] }> {
    // Nothing that moves: each frame of it is drawn by the processor here.
    const context = await this.#browser.newContext({
      viewport: { width, height: 900 },
      reducedMotion: 'reduce',
    });
    this.#contexts.push(context);
    const page = await context.newPage();
    page.setDefaultTimeout(waitMs);
    return { page, faults: faultsOf(page) };
  }

  /**
   * As after signing in, on an empty page: who opens one of the console's next has no need of the one before it, which
   * takes a quarter of a second of processor time.
   */
  async withSession({ name = administratorName, width = 1440 } = {}): Promise<{
    page: Page;
    faults: string[];
  }> {
    const opened = await this.newPage(width);
    const deps = { sql: this.system.sql, now: () => new Date() };
    const { code } = await createSignInCode(deps, name);
    // The browser keeps its cookie.
    const reply = await opened.page
      .context()
      .request.post(`${this.url}/api/v1/sign-in/exchange`, { data: { code } });
    expect(reply.status()).toBe(200);
    return opened;
  }

  /** Signed in, with all that went wrong in the page. */
  async signedIn(width = 1440): Promise<{ page: Page; faults: string[] }> {
    const opened = await this.newPage(width);
    await opened.page.goto(await this.signInLink());
    await opened.page.getByRole('heading', { name: 'Jobs', exact: true }).waitFor();
    return opened;
  }

  /** A user that was made over the API, signed in; what they see first is the test's to say. */
  async signedInAs(name: string, width = 1440): Promise<{ page: Page; faults: string[] }> {
    const opened = await this.newPage(width);
    await opened.page.goto(await this.signInLink(name));
    // On a phone the name is not shown there.
    await opened.page.locator('header').getByText(name, { exact: true }).waitFor({ state: 'attached' });
    return opened;
  }

  /** Ends what a test left open. */
  async closePages(): Promise<void> {
    for (const context of this.#contexts.splice(0)) {
      // An answer that is being altered for a page that asks again and again has nobody left to read it.
      for (const page of context.pages()) await page.unrouteAll({ behavior: 'ignoreErrors' });
      await context.close();
    }
  }

  async stop(): Promise<void> {
    if (this.#isOwnBrowser) await this.#browser.close();
    else await closeContexts(this.#browser);
    await this.system[Symbol.asyncDispose]();
  }
}

/** What a page must never do: throw, open a dialog, or try what its content security policy forbids. */
function faultsOf(page: Page): string[] {
  const faults: string[] = [];
  page.on('pageerror', (error) => faults.push(`threw ${error.message}`));
  page.on('dialog', (dialog) => {
    faults.push(`opened a dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
  page.on('console', (message) => {
    if (/Content Security Policy/i.test(message.text())) faults.push(message.text());
  });
  return faults;
}

/** Resolves when the output on the page says that it has so many lines. */
export async function hasLines(page: Page, lines: number): Promise<void> {
  const words = `${lines.toLocaleString('en-US')} ${lines === 1 ? 'line' : 'lines'},`;
  await page.locator('.live').getByText(words).waitFor();
}

/** Lines that are drawn, each with its number. */
export function drawnLines(page: Page): Promise<{ number: number; text: string }[]> {
  return page.locator('.lines .line:has(a)').evaluateAll((lines) =>
    lines.map((line) => ({
      number: Number(line.querySelector('a')?.textContent),
      text: line.querySelector('.text')?.textContent ?? '',
    })),
  );
}

/** Expects of what it answers, as soon as that holds. */
export const eventually = <T>(answer: () => T) => expect.poll(answer, { timeout: waitMs });
