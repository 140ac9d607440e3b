// The console in real Chromium before the stand-in for the server: for what needs slow, failing or rare answers.
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { mockApi } from '../ui/dev/mock-api.ts';
import { closeContexts, noBrowser, sharedBrowser } from './support/browser.ts';
import { buildConsole } from './support/server-and-agents.ts';

export { noBrowser };

export class StandIn {
  url = '';
  #browser: Browser | undefined;

  async start(): Promise<void> {
    if (noBrowser !== undefined) return;
    await buildConsole();
    mockApi.listen(0, '127.0.0.1');
    await once(mockApi, 'listening');
    this.url = `http://127.0.0.1:${(mockApi.address() as AddressInfo).port}`;
    this.#browser = await sharedBrowser();
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
    if (this.#browser !== undefined) await closeContexts(this.#browser);
    mockApi.closeAllConnections();
    mockApi.close();
  }
}
