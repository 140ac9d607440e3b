/**
 * Why a sealed, signed or bounded thing was refused. Stable strings: callers branch on them.
 *
 * - `malformed`: wrong shape, size or encoding; nothing was decrypted or believed.
 * - `unopenable`: it does not decrypt: another key, another binding, or it was altered.
 * - `key_mismatch`: it decrypted, but the key inside is not the one the roster names.
 * - `bad_signature`: not signed by the key that was expected.
 * - `rolled_back`: older than, or different from, what was already accepted.
 * - `foreign`: of another installation or segment.
 */
export type SealingReason =
  | 'malformed'
  | 'unopenable'
  | 'key_mismatch'
  | 'bad_signature'
  | 'rolled_back'
  | 'foreign';

/** The one error of this folder. Its message never contains a secret, and may be shown and logged. */
export class SealingError extends Error {
  override readonly name = 'SealingError';
  readonly reason: SealingReason;

  constructor(reason: SealingReason, message: string, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
  }
}
