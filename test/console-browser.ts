// The console as a person uses it: the real server, a real agent and target, and Chromium.
import { join, resolve } from 'node:path';
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core';
import { expect } from 'vitest';
import { administratorName } from '../server/src/auth/installation/bootstrap-administrator.ts';
import { createSignInCode } from '../server/src/auth/sign-in/sign-in-codes.ts';
import { ensureChromium } from './support/packages.ts';
import { type SystemOptions, setup, type TestSystem } from './support/system.ts';

const root = resolve(import.meta.dirname, '..');
const waitMs = 30_000;

const program = await ensureChromium();
/** Why there is no browser here. */
export const missing = 'missing' in program ? program.missing : undefined;

export class ConsoleSystem {
  readonly system: TestSystem;
  readonly #browser: Browser;
  readonly #contexts: BrowserContext[] = [];

  private constructor(system: TestSystem, browser: Browser) {
    this.system = system;
    this.#browser = browser;
  }

  static async start(args: readonly string[] = [], options: SystemOptions = {}): Promise<ConsoleSystem> {
    if ('missing' in program) throw new Error(program.missing);
    const build = await import(join(root, 'scripts/build.mjs'));
    await (build as { buildAll(): Promise<void> }).buildAll();
    const system = await setup(options);
    const browser = await chromium.launch({
      executablePath: program.path,
      env: { ...process.env, ...program.env } as Record<string, string>,
      // Chromium has no sandbox for root.
      args: [...args, ...(process.getuid?.() === 0 ? ['--no-sandbox'] : [])],
    });
    return new ConsoleSystem(system, browser);
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
    await this.#browser.close();
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
