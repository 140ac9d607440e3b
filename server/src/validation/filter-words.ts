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
 * Reads a date, which begins at midnight UTC, or a time with its offset: without one, it would mean another moment on
 * each server.
 *
 * @throws {AppError} `invalid`, naming the path, also for a day that does not exist or a time that PostgreSQL can't keep.
 */
export function readTime(text: string | undefined, path: string): Date | undefined {
  if (text === undefined) return undefined;
  const time = timeOf(text);
  if (time !== undefined) return time;
  throw refused(path, 'Is not a date or time that exists.', text, '2026-11-25 or 2026-11-25T08:00:00Z');
}

const timeForm = /^(\d{4}-\d{2}-\d{2})(?:T\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?(?:Z|[+-]\d{2}:\d{2}))?$/;

function timeOf(text: string): Date | undefined {
  const [, day] = timeForm.exec(text) ?? [];
  const time = new Date(text);
  const midnight = new Date(`${day}T00:00:00Z`);
  // 30 February would be taken for a day in March.
  if (Number.isNaN(midnight.getTime()) || !midnight.toISOString().startsWith(`${day}T`)) return undefined;
  // An offset may lead out of the four-digit years. The year of a time that is not valid is NaN.
  const year = time.getUTCFullYear();
  return year >= 1 && year <= 9_999 ? time : undefined;
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
