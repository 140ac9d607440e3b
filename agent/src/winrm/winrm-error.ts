// Why a WinRM host could not be reached, opened or used, in words for a person. Contains no secret.

/**
 * `ambiguous`: the connection was lost after a message was sent, so the host may have acted on it. `fault`: the host
 * refused one request, with a code. `quota`, `shell_gone`, `poll_again` and `bad_directory` are faults, too.
 */
export type WinrmErrorKind =
  | 'name_not_found'
  | 'unreachable'
  | 'connection_refused'
  | 'connect_timed_out'
  | 'certificate'
  | 'auth_failed'
  | 'auth_unavailable'
  | 'not_authorized'
  | 'unencrypted_refused'
  | 'not_winrm'
  | 'protocol'
  | 'ambiguous'
  | 'no_answer'
  | 'quota'
  | 'shell_gone'
  | 'poll_again'
  | 'bad_directory'
  | 'no_powershell'
  | 'fault'
  | 'too_large'
  | 'invalid';

export interface WinrmErrorDetails {
  kind: WinrmErrorKind;
  /** One sentence: what happened. */
  message: string;
  /** One sentence: what to try. */
  advice: string;
  /** Code of a fault, as Windows numbers them. */
  code?: number;
  /** It is certain that the host has not acted on anything: the same request may be sent again. */
  notExecuted?: boolean;
  cause?: unknown;
}

export class WinrmError extends Error {
  override readonly name = 'WinrmError';
  readonly kind: WinrmErrorKind;
  readonly advice: string;
  readonly code: number | undefined;
  readonly notExecuted: boolean;

  constructor(details: WinrmErrorDetails) {
    super(details.message, details.cause === undefined ? undefined : { cause: details.cause });
    this.kind = details.kind;
    this.advice = details.advice;
    this.code = details.code;
    this.notExecuted = details.notExecuted ?? false;
  }

  /** Returns the same error with more precise knowledge of whether the host has acted. */
  as({ notExecuted }: { notExecuted: boolean }): WinrmError {
    if (notExecuted === this.notExecuted) return this;
    const { kind, message, advice, code, cause } = this;
    return new WinrmError({
      kind,
      message,
      advice,
      notExecuted,
      ...(code === undefined ? {} : { code }),
      ...(cause === undefined ? {} : { cause }),
    });
  }
}

/**
 * For a user who could log in but may not run commands through WinRM. Remote Management Users grants only PowerShell's
 * endpoints.
 */
export const rightsAdvice =
  'Make the user an administrator of the host, or allow the user Read and Execute there (winrm configSDDL default); Remote Management Users is not enough. A local administrator other than the built-in one also needs LocalAccountTokenFilterPolicy = 1 on the host.';

/** Returns the error for a reply that no WinRM host sends. */
export function protocolError(what: string, cause?: unknown): WinrmError {
  return new WinrmError({
    kind: 'protocol',
    message: `The host does not speak WinRM as it should: ${what}.`,
    advice:
      'Look for a proxy or another program between the agent and the host, and at the host’s event log.',
    ...(cause === undefined ? {} : { cause }),
  });
}
