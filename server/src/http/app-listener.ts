import type { RequestListener } from 'node:http';
import { getRequestListener } from '@hono/node-server';

/**
 * Answers what Node hears. What is still to come of a body that nobody reads is no matter of Hono's, which would end the
 * connection half a second after the answer without a word: the listener has rules of its own for that.
 */
export function appListener(fetch: Parameters<typeof getRequestListener>[0]): RequestListener {
  return getRequestListener(fetch, { overrideGlobalObjects: false, autoCleanupIncoming: false });
}
