// The one table from errors to HTTP answers.
import type { ErrorBody } from '@opsconductor/protocol';
import { AppError, httpStatusOf } from '../errors.ts';
import type { Log } from '../log.ts';
import { RefusedRequest } from './refused-request.ts';

/** What may be shown is shown; anything else is logged whole and answered with the request id alone. */
export function errorReply(error: unknown, requestId: string, log: Log): Response {
  const shown =
    error instanceof AppError ? error : new AppError('internal', 'Internal error.', { cause: error });
  if (!(error instanceof AppError) || shown.code === 'internal')
    log.error({ err: error, requestId }, 'request failed');
  const body: ErrorBody = {
    error: {
      code: shown.code,
      message: shown.message,
      requestId,
      ...(shown.details.length === 0 ? {} : { details: [...shown.details] }),
    },
  };
  const refused = shown instanceof RefusedRequest ? shown : undefined;
  return Response.json(body, {
    status: refused?.status ?? httpStatusOf[shown.code],
    headers: {
      ...(shown.code === 'unauthenticated' ? { 'WWW-Authenticate': 'Bearer realm="OpsConductor"' } : {}),
      ...(shown.retryAfterS === undefined ? {} : { 'Retry-After': String(Math.ceil(shown.retryAfterS)) }),
      ...refused?.headers,
    },
  });
}
