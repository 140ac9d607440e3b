/**
 * - `missing`: the database is encrypted, and the master key file is not there.
 * - `exposed`: others than its owner may read the master key file.
 * - `damaged`: the file, or an encrypted value, is not what was written.
 * - `wrong_master_key`: encrypted under a master key with another id.
 */
export type AtRestReason = 'missing' | 'exposed' | 'damaged' | 'wrong_master_key';

/** The one error of this folder. Messages are for the operator who starts the server; they hold no key. */
export class AtRestError extends Error {
  override readonly name = 'AtRestError';
  readonly reason: AtRestReason;

  constructor(reason: AtRestReason, message: string, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
  }
}
