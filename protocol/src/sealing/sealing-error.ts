/**
 * Why something sealed, signed or bounded was refused. Callers branch on these strings, so they never change.
 *
 * - `malformed`: wrong shape, size or encoding; nothing was decrypted or trusted.
 * - `unopenable`: can't be decrypted: another key, another binding, or altered.
 * - `key_mismatch`: decrypted, but the key inside is not the one that the roster names.
 * - `bad_signature`: not signed by the expected key.
 * - `rolled_back`: older than, or different from, what was already accepted.
 * - `foreign`: from another installation or segment.
 */
export type SealingReason =
  | 'malformed'
  | 'unopenable'
  | 'key_mismatch'
  | 'bad_signature'
  | 'rolled_back'
  | 'foreign';

/** The only error class of this folder. Its message never contains a secret, and may be shown and logged. */
export class SealingError extends Error {
  override readonly name = 'SealingError';
  readonly reason: SealingReason;

  constructor(reason: SealingReason, message: string, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
  }
}
