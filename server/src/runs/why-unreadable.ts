// What is stored and can never be read again, told from what another try or another server can read.

import { AtRestError } from '../credentials/at-rest/at-rest-error.ts';
import { AppError } from '../errors.ts';

/**
 * A sentence on what was altered or is gone. Rethrows any other error: the database may be back in a moment, and another
 * server may hold the master key.
 *
 * @param what that could not be read, as the beginning of a sentence.
 */
export function whyUnreadable(what: string, error: unknown): string {
  if (error instanceof AtRestError && error.reason === 'damaged')
    return `${what} can’t be read: what the database has of it was altered or moved.`;
  if (error instanceof AppError && error.code === 'not_found')
    return `${what} is not in the database any more.`;
  throw error;
}

/**
 * The same for what an agent is at: nothing is gained by its connecting anew, as everything else that it does would be cut
 * off with it. So what is under a master key that this server does not hold can't be read either.
 */
export function whyUnreadableHere(what: string, error: unknown): string {
  if (error instanceof AtRestError && error.reason === 'wrong_master_key')
    return `${what} can’t be read on this server. ${error.message}.`;
  return whyUnreadable(what, error);
}
