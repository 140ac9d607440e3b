import type { RequestListener } from 'node:http';
import { getRequestListener, RequestError } from '@hono/node-server';
import { refusalOf } from '../listener/refusals.ts';

const wrongAddress =
  'The request doesn’t say where it goes: its path or URL, or its header Host, is missing or not valid.';

/**
 * Returns the listener that passes Node's requests to Hono. Hono's own cleanup is off: it would silently close the
 * connection half a second after the answer if part of the body was unread. The server's listener has its own rules for
 * that.
 */
export function appListener(fetch: Parameters<typeof getRequestListener>[0]): RequestListener {
  return getRequestListener(fetch, {
    overrideGlobalObjects: false,
    autoCleanupIncoming: false,
    errorHandler: answerWithoutApp,
  });
}

/** For requests of which Hono can make none of its own, so that the app never sees them; and if the app throws. */
function answerWithoutApp(error: unknown): Response {
  if (!(error instanceof RequestError)) return new Response(null, { status: 500 });
  const { body, headers } = refusalOf(400, wrongAddress);
  return new Response(body, { status: 400, headers });
}
