// Chromium for the tests of a worker. Files of a worker share what they import, and so one browser: each start of one
// takes a fifth of a second of processor time. What a page keeps is in a context of its own, as in a new browser.
import { type Browser, chromium } from 'playwright-core';
import { ensureChromium } from './packages.ts';

const program = await ensureChromium();
/** Why there is no browser here. */
export const noBrowser = 'missing' in program ? program.missing : undefined;

let shared: Browser | undefined;

export async function sharedBrowser(): Promise<Browser> {
  if (!shared?.isConnected()) shared = await startBrowser();
  return shared;
}

/** Closes whatever a file has left open. */
export async function closeContexts(browser: Browser): Promise<void> {
  for (const context of browser.contexts()) await context.close();
}

/** A browser of its own, for those with arguments. */
export async function startBrowser(args: readonly string[] = []): Promise<Browser> {
  if ('missing' in program) throw new Error(program.missing);
  return chromium.launch({
    executablePath: program.path,
    env: { ...process.env, ...program.env } as Record<string, string>,
    // Chromium has no sandbox for root.
    args: [...args, ...(process.getuid?.() === 0 ? ['--no-sandbox'] : [])],
    // A worker that is told to end ends at once, and the browser with its pipe.
    handleSIGTERM: false,
  });
}
