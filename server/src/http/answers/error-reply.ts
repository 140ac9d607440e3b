// The only place where errors become HTTP answers.
import type { ErrorBody } from '@opsconductor/protocol';
import { AppError, httpStatusOf } from '../../errors.ts';
import type { Log } from '../../log.ts';
import { isLockTaken } from '../../store/database/change-lock.ts';
import { isDatabaseFull, isDatabaseLost, isStatementEnded } from '../../store/database/database-lost.ts';
import { RefusedRequest } from './refused-request.ts';

const retryAfterS = 1;
const retryWhenFullS = 10;
const retryWhenTakenS = 5;

/** Answers with the message of an `AppError`. Anything else is logged in full and answered with the request id only. */
export function errorReply(error: unknown, requestId: string, log: Log): Response {
  const shown = error instanceof AppError ? error : toAppError(error);
  if (shown.code === 'internal') log.error({ err: error, requestId }, 'request failed');
  else if (isStatementEnded(error))
    log.warn(
      { err: error, requestId },
      'request failed: the database ended a statement of it, at the statement_timeout of its role or because somebody cancelled it',
    );
  else if (shown !== error)
    log.warn(
      { err: error, requestId },
      'request failed: the database is not answering, takes no changes, lets this server in no more, or its disk is full',
    );
  const body: ErrorBody = {
    error: {
      code: shown.code,
      message: shown.message,
      requestId,
      ...(shown.details.length === 0 ? {} : { details: [...shown.details] }),
      ...(shown.conflict === undefined ? {} : { conflict: shown.conflict }),
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

function toAppError(error: unknown): AppError {
  if (isDatabaseFull(error)) {
    const message = 'The disk of the database is full: nothing was changed. Make room there, and try again.';
    return new AppError('unavailable', message, { cause: error, retryAfterS: retryWhenFullS });
  }
  if (isLockTaken(error)) {
    const message =
      'Another change is still under way, and this one has to wait for it. Nothing was changed: try again.';
    return new AppError('unavailable', message, { cause: error, retryAfterS: retryWhenTakenS });
  }
  if (isStatementEnded(error)) {
    // A request may make several changes, one after the other.
    const message =
      'The database took too long, and ended this. Try again; if this was a change, first check whether it was made.';
    return new AppError('unavailable', message, { cause: error, retryAfterS: retryWhenTakenS });
  }
  if (!isDatabaseLost(error)) return new AppError('internal', 'Internal error.', { cause: error });
  // The connection may have been lost after the commit but before its answer arrived.
  const message =
    'The database is not answering right now. Try again; if this was a change, first check whether it was made.';
  return new AppError('unavailable', message, { cause: error, retryAfterS });
}
