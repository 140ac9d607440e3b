// The console in real Chromium before the stand-in for the server: for what needs slow, failing or rare answers.
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { join, resolve } from 'node:path';
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core';
import { mockApi } from '../ui/dev/mock-api.ts';
import { ensureChromium } from './support/packages.ts';

const program = await ensureChromium();
/** Why there is no browser here. */
export const noBrowser = 'missing' in program ? program.missing : undefined;

export class StandIn {
  url = '';
  #browser: Browser | undefined;

  async start(): Promise<void> {
    if ('missing' in program) return;
    const build = await import(join(resolve(import.meta.dirname, '..'), 'scripts/build.mjs'));
    await (build as { buildAll(): Promise<void> }).buildAll();
    mockApi.listen(0, '127.0.0.1');
    await once(mockApi, 'listening');
    this.url = `http://127.0.0.1:${(mockApi.address() as AddressInfo).port}`;
    this.#browser = await chromium.launch({
      executablePath: program.path,
      env: { ...process.env, ...program.env } as Record<string, string>,
      // Chromium has no sandbox for root.
      args: process.getuid?.() === 0 ? ['--no-sandbox'] : [],
    });
  }

  get browser(): Browser {
    if (this.#browser === undefined) throw new Error('There is no browser.');
    return this.#browser;
  }

  /** Changes what the stand-in answers, or who is signed in. */
  async say(scenario: string): Promise<void> {
    await fetch(`${this.url}/dev/${scenario}`, { method: 'POST' });
  }

  /** A page of its own, closed with `page.context().close()`. Nothing moves there. */
  async page(options: BrowserContextOptions): Promise<Page> {
    const context = await this.browser.newContext({ reducedMotion: 'reduce', ...options });
    return context.newPage();
  }

  async stop(): Promise<void> {
    await this.#browser?.close();
    mockApi.closeAllConnections();
    mockApi.close();
  }
}
