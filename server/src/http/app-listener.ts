import type { RequestListener } from 'node:http';
import { getRequestListener } from '@hono/node-server';

/**
 * Returns the listener that passes Node's requests to Hono. Hono's own cleanup is off: it would silently close the
 * connection half a second after the answer if part of the body was unread. The server's listener has its own rules for
 * that.
 */
export function appListener(fetch: Parameters<typeof getRequestListener>[0]): RequestListener {
  return getRequestListener(fetch, { overrideGlobalObjects: false, autoCleanupIncoming: false });
}
