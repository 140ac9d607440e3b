import { shownPath } from './shown-path.ts';
import { TransferError } from './transfer-error.ts';

/** Whether a name from a listing is one: what came from elsewhere must not lead anywhere. */
export function isSafeName(name: string): boolean {
  return name !== '' && name !== '.' && name !== '..' && !/[/\0]/.test(name);
}

export function assertSafeName(name: string): void {
  if (!isSafeName(name)) throw unsafePath(name);
}

/** The parts of an absolute path, without `.` and empty ones. Refuses `..`. */
export function partsOf(path: string): string[] {
  const parts = path.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.some((part) => !isSafeName(part))) throw unsafePath(path);
  return parts;
}

function unsafePath(path: string): TransferError {
  return new TransferError({
    reason: 'path_refused',
    message: `${shownPath(path)} is no path for a transfer: it has .. or no name in it.`,
    advice: 'Write the path without ..',
  });
}
