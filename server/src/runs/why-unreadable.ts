// Tells stored data that can never be read again from data that another try or another server may be able to read.
import { AtRestError } from '../credentials/at-rest/at-rest-error.ts';
import { AppError } from '../errors.ts';

/**
 * Returns a sentence on what was altered or is gone. Rethrows any other error, because the database may be back in a
 * moment, and another server may hold the master key.
 *
 * @param what could not be read, as the beginning of a sentence.
 */
export function whyUnreadable(what: string, error: unknown): string {
  if (error instanceof AtRestError && error.reason === 'damaged')
    return `${what} can’t be read: what the database has of it was altered or moved.`;
  if (error instanceof AppError && error.code === 'not_found')
    return `${what} is not in the database any more.`;
  throw error;
}

/**
 * Like `whyUnreadable`, for work that an agent has in progress. It also returns a sentence if this server doesn't hold
 * the master key: making the agent reconnect to another server would cut off everything else that it does.
 */
export function whyUnreadableHere(what: string, error: unknown): string {
  if (error instanceof AtRestError && error.reason === 'wrong_master_key')
    return `${what} can’t be read on this server. ${error.message}.`;
  return whyUnreadable(what, error);
}
