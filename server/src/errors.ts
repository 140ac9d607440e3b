// The one error that may be shown. Everything else is logged whole and answered "Internal error." with a request id.
import type { ErrorCode, ErrorDetail, SaveConflict } from '@opsconductor/protocol';

export class AppError extends Error {
  readonly code: ErrorCode;
  details: readonly ErrorDetail[];
  /** Seconds after which trying again can help; sent as Retry-After. */
  readonly retryAfterS: number | undefined;
  /** Both sides, of a save that another one came before. */
  readonly conflict: SaveConflict | undefined;

  constructor(
    code: ErrorCode,
    publicMessage: string,
    options: {
      cause?: unknown;
      details?: readonly ErrorDetail[];
      retryAfterS?: number;
      conflict?: SaveConflict;
    } = {},
  ) {
    super(publicMessage, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'AppError';
    this.code = code;
    this.details = options.details ?? [];
    this.retryAfterS = options.retryAfterS;
    this.conflict = options.conflict;
  }
}

export const httpStatusOf = {
  invalid: 400,
  unauthenticated: 401,
  forbidden: 403,
  not_found: 404,
  conflict: 409,
  too_large: 413,
  rate_limited: 429,
  output_expired: 410,
  unavailable: 503,
  internal: 500,
} as const satisfies Record<ErrorCode, number>;

/** One invalid field, as an error. */
export function invalidField(
  path: string,
  message: string,
  more: { found?: string; allowed?: string } = {},
): AppError {
  return new AppError('invalid', message, { details: [{ path, message, ...more }] });
}

/** What may not be seen and what does not exist are told alike. */
export function notFound(what: string): AppError {
  return new AppError('not_found', `${what} not found.`);
}
