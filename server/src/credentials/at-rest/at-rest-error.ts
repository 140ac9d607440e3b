/**
 * - `missing`: the database is encrypted, but the master key file doesn't exist.
 * - `exposed`: the master key file can be read by others than its owner.
 * - `unreadable`: this user may not read the master key file.
 * - `damaged`: the file, or an encrypted value, was altered since it was written.
 * - `wrong_master_key`: the value is encrypted under a master key with another id.
 */
export type AtRestReason = 'missing' | 'exposed' | 'unreadable' | 'damaged' | 'wrong_master_key';

/** The only error of this folder. Messages are for the operator who starts the server; they contain no key. */
export class AtRestError extends Error {
  override readonly name = 'AtRestError';
  readonly reason: AtRestReason;

  constructor(reason: AtRestReason, message: string, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
  }
}
