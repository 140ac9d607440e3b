// What a list is narrowed down by, as its query says it: words of which there are so many, and times.
import { AppError } from './errors.ts';

/**
 * Words with commas between them.
 *
 * @throws {AppError} `invalid`, naming the path, for one that is none of the known ones.
 */
export function readWords<W extends string>(text: string, known: readonly W[], path: string): W[] {
  const given = [...new Set(text.split(',').map((word) => word.trim()))];
  const unknown = given.find((word) => !known.includes(word as W));
  if (unknown === undefined) return given as W[];
  throw refused(path, 'Is none of those that there are.', unknown, known.join(', '));
}

/** @throws {AppError} `invalid`, naming the path. */
export function readTime(text: string | undefined, path: string): Date | undefined {
  if (text === undefined) return undefined;
  const time = /^\d{4}-\d{2}-\d{2}(T|$)/.test(text) ? new Date(text) : new Date(Number.NaN);
  if (!Number.isNaN(time.getTime())) return time;
  throw refused(path, 'Is no date or time.', text, '2026-11-25 or 2026-11-25T08:00:00Z');
}

/** In the form of what a schema refuses: the message alone says where and what may stand there. */
function refused(path: string, message: string, found: string, allowed: string): AppError {
  const details = [{ path, message, found, allowed }];
  return new AppError('invalid', `${path}: ${message} Allowed: ${allowed}.`, { details });
}
