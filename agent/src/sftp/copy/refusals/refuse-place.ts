// What must not be replaced by a file or a link.
import { shownPath } from '../../tree/shown-path.ts';
import { fileError, TransferError } from '../../tree/transfer-error.ts';
import type { Entry } from '../../tree/tree.ts';

/** @throws TransferError if there is a directory, or a device, a pipe or a socket that programs rely on */
export function refusePlace(there: Pick<Entry, 'kind'> | undefined, name: string): void {
  if (there?.kind === 'directory') throw fileError({ code: 'EISDIR' }, '', name, 'replaced');
  if (there?.kind !== 'other') return;
  throw new TransferError({
    reason: 'file_exists',
    message: `${shownPath(name)} is a device, a pipe or a socket at the destination, which is not replaced.`,
    advice: 'Choose another place, or remove what is there first.',
  });
}
