import type { StepReason } from '@opsconductor/protocol';

/** A host key that a target presented and nobody has accepted yet. */
export interface OfferedHostKey {
  /** OpenSSH public key line: `ssh-ed25519 AAAA…`. */
  line: string;
  /** `SHA256:…`, as OpenSSH prints it. */
  fingerprint: string;
}

export interface SshErrorDetails {
  reason: StepReason;
  /** One sentence: what happened. */
  message: string;
  /** One sentence: what to try. */
  advice: string;
  /** Whether the same attempt may succeed later although nothing was changed. */
  retryable?: boolean;
  /** The presented key, with `host_key_unknown` and `host_key_mismatch`. */
  offeredHostKey?: OfferedHostKey;
  cause?: unknown;
}

/** Why a connection to a target failed or was lost. Holds no secret: its text goes to people and to the server. */
export class SshError extends Error {
  readonly reason: StepReason;
  readonly advice: string;
  readonly retryable: boolean;
  readonly offeredHostKey: OfferedHostKey | undefined;

  constructor(details: SshErrorDetails) {
    super(details.message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = 'SshError';
    this.reason = details.reason;
    this.advice = details.advice;
    this.retryable = details.retryable ?? false;
    this.offeredHostKey = details.offeredHostKey;
  }
}
