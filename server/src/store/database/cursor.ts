// Cursors of lists: opaque to clients, so that the order of a list can change without breaking them.
import { AppError } from '../../errors.ts';

type KeyPart = 'string' | 'number' | 'uuid';
const uuidPattern = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** Encodes the sort key of a page's last row as a cursor. */
export function encodeCursor(key: readonly (string | number)[]): string {
  return Buffer.from(JSON.stringify(key)).toString('base64url');
}

/**
 * Decodes a cursor into a sort key of these types. `field` is where it was given.
 *
 * @throws {AppError} `invalid` for anything that `encodeCursor` did not write for the same list.
 */
export function decodeCursor<K extends readonly KeyPart[]>(
  cursor: string,
  types: K,
  field = 'query.cursor',
): { [I in keyof K]: K[I] extends 'number' ? number : string } {
  let key: unknown;
  try {
    key = JSON.parse(Buffer.from(cursor, 'base64url').toString());
  } catch {
    throw badCursor(field);
  }
  const fits =
    Array.isArray(key) && key.length === types.length && key.every((part, i) => isKeyPart(part, types[i]));
  if (!fits) throw badCursor(field);
  return key as { [I in keyof K]: K[I] extends 'number' ? number : string };
}

function isKeyPart(part: unknown, type: KeyPart | undefined): boolean {
  if (type === 'number') return Number.isSafeInteger(part);
  if (type === 'uuid') return typeof part === 'string' && uuidPattern.test(part);
  return typeof part === 'string' && !part.includes('\0');
}

function badCursor(field: string): AppError {
  const message = 'The cursor is not one that this list gave out; start again without it.';
  return new AppError('invalid', message, { details: [{ path: field, message }] });
}

/** Returns a LIKE pattern that matches `text` as a substring, taken literally. */
export function containsPattern(text: string): string {
  return `%${escapeLike(text)}%`;
}

/** Returns a LIKE pattern for a text in which `*` stands for anything. */
export function likePattern(text: string): string {
  return text.split('*').map(escapeLike).join('%');
}

function escapeLike(text: string): string {
  return text.replaceAll(/[\\%_]/g, '\\$&');
}

/**
 * Removes the extra row that the query asked for beyond the limit, and returns the cursor of the next page if there was
 * one.
 */
export function pageOf<R, I>(
  rows: readonly R[],
  limit: number,
  keyOf: (row: R) => readonly (string | number)[],
  itemOf: (row: R) => I,
): { items: I[]; nextCursor: string | null } {
  const kept = rows.slice(0, limit);
  const last = kept.at(-1);
  return {
    items: kept.map(itemOf),
    nextCursor: rows.length > limit && last !== undefined ? encodeCursor(keyOf(last)) : null,
  };
}
