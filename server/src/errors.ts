// The only error whose message may be shown. Any other error is logged whole and answered "Internal error." with a
// request id.
import type { ErrorCode, ErrorDetail, SaveConflict } from '@opsconductor/protocol';

export class AppError extends Error {
  readonly code: ErrorCode;
  details: readonly ErrorDetail[];
  /** Seconds after which a retry may help; sent as Retry-After. */
  readonly retryAfterS: number | undefined;
  /** Both versions, if another save came first. */
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

/** Returns an error about one invalid field. */
export function invalidField(
  path: string,
  message: string,
  more: { found?: string; allowed?: string } = {},
): AppError {
  return new AppError('invalid', message, { details: [{ path, message, ...more }] });
}

/** Returns the same error for what doesn't exist and for what the caller may not see. */
export function notFound(what: string): AppError {
  return new AppError('not_found', `${what} not found.`);
}
