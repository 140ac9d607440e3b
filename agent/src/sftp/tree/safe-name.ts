import { shownPath } from './shown-path.ts';
import { TransferError } from './transfer-error.ts';

/** No file system has longer names. Comparing and normalizing one takes up to the square of its length. */
const maxNameLength = 1_024;

/** Returns whether a name from a listing is a single plain name: names from the other side must not lead elsewhere. */
export function isSafeName(name: string): boolean {
  return name !== '' && name !== '.' && name !== '..' && name.length <= maxNameLength && !/[/\0]/.test(name);
}

export function assertSafeName(name: string): void {
  if (!isSafeName(name)) throw unsafePath(name);
}

/** Returns the parts of an absolute path, without `.` and empty ones. Throws for `..`. */
export function partsOf(path: string): string[] {
  const parts = path.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.some((part) => !isSafeName(part))) throw unsafePath(path);
  return parts;
}

function unsafePath(path: string): TransferError {
  return new TransferError({
    reason: 'path_refused',
    message: `${shownPath(path)} is not a path for a transfer: it contains .. or an invalid name.`,
    advice: 'Write the path without ..',
  });
}
