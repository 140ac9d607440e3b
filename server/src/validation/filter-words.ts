// Filters in the query of a list: words from a fixed set, times, and ids.
import { AppError } from '../errors.ts';

/**
 * Reads a comma-separated list of words, each once.
 *
 * @throws {AppError} `invalid`, naming the path, if a word is not one of the known ones.
 */
export function readWords<W extends string>(text: string, known: readonly W[], path: string): W[] {
  const given = [...new Set(text.split(',').map((word) => word.trim()))];
  const unknown = given.find((word) => !known.includes(word as W));
  if (unknown === undefined) return given as W[];
  throw refused(path, 'Is not one of the allowed values.', unknown, known.join(', '));
}

/**
 * Reads a date or time.
 *
 * @throws {AppError} `invalid`, naming the path.
 */
export function readTime(text: string | undefined, path: string): Date | undefined {
  if (text === undefined) return undefined;
  const time = /^\d{4}-\d{2}-\d{2}(T|$)/.test(text) ? new Date(text) : new Date(Number.NaN);
  if (!Number.isNaN(time.getTime())) return time;
  throw refused(path, 'Is not a date or time.', text, '2026-11-25 or 2026-11-25T08:00:00Z');
}

/** Has the form of a schema's refusal; the message alone says which path is wrong and what is allowed. */
function refused(path: string, message: string, found: string, allowed: string): AppError {
  const details = [{ path, message, found, allowed }];
  return new AppError('invalid', `${path}: ${message} Allowed: ${allowed}.`, { details });
}

/**
 * Returns the ids that a query names, one in a parameter and several in another; undefined for all. Both narrow: what is
 * in only one of them is left out.
 */
export function idsOf(one: number | undefined, several: string | undefined): number[] | undefined {
  if (several === undefined) return one === undefined ? undefined : [one];
  const ids = several.split(',').map(Number);
  return one === undefined ? ids : ids.filter((id) => id === one);
}
