// Errors for entries of a tree that are not transferred, in words that a person can act on.
import { shownPath } from '../../tree/shown-path.ts';
import { TransferError } from '../../tree/transfer-error.ts';

export function badName(): TransferError {
  return refused(
    'The server lists a name that leads elsewhere or is longer than a name can be.',
    'Look at the SFTP server of the target: no file can have such a name.',
  );
}

export function nameTaken(name: string, other: string): TransferError {
  return new TransferError({
    reason: 'file_exists',
    message: `${shownPath(name)} and ${shownPath(other)} are one name at the destination, which has the other one.`,
    advice: 'Rename one of them, or leave it out with exclude.',
  });
}

export function notTransferred(name: string): TransferError {
  return new TransferError({
    reason: 'transfer_failed',
    message: `${shownPath(name)} is a device, a pipe or a socket, which is not transferred.`,
    advice: 'Leave it out with exclude.',
  });
}

export function linkRefused(name: string): TransferError {
  return refused(
    `${shownPath(name)} is a symbolic link, and symlinks is set to fail.`,
    'Choose another value of symlinks, or exclude it.',
  );
}

export function linkLeadsOut(target: string): TransferError {
  return refused(
    `It is a symbolic link that may lead out of what is transferred (to ${shownPath(target)}).`,
    'Set symlinks to follow to get what it leads to, or to skip.',
  );
}

export function linkNotFollowed(name: string): TransferError {
  return refused(
    `${shownPath(name)} is a symbolic link that leads nowhere, or to a place that may not be read.`,
    'Correct the link, allow what it leads to in the policy file of the agent, or set symlinks to skip.',
  );
}

export function tooMuch(name: string, size: number, maxBytes: number): TransferError {
  return new TransferError({
    reason: 'no_space',
    message: `With the ${size} bytes of ${shownPath(name)} there would be more than ${maxBytes} in all.`,
    advice: 'Leave some out with exclude, or transfer it in several steps.',
  });
}

export function tooManyFiles(maxFiles: number): TransferError {
  return new TransferError({
    reason: 'no_space',
    message: `There are more than ${maxFiles} files.`,
    advice: 'Leave some out with exclude, or pack them into one file first.',
  });
}

export function linkInCircle(name: string): TransferError {
  return refused(
    `${shownPath(name)} is a symbolic link to a directory that it lies in: followed, it would never end.`,
    'Leave it out with exclude, or set symlinks to copy or skip.',
  );
}

/** Limit on nested directories, so that a tree can't occupy an unlimited number of open files, one for each level. */
export const maxDepth = 128;

export function tooDeep(path: string): TransferError {
  return refused(
    `${shownPath(path)} is more than ${maxDepth} directories deep.`,
    'Look for links that lead in circles, or transfer a directory further below.',
  );
}

export function tooManyHeld(path: string, most: number): TransferError {
  return new TransferError({
    reason: 'transfer_failed',
    message: `${shownPath(path)} and the directories that contain it have more than ${most} files: more than are compared at a time.`,
    advice: 'Transfer the directories in it one by one, or spread its files over several.',
  });
}

function refused(message: string, advice: string): TransferError {
  return new TransferError({ reason: 'path_refused', message, advice });
}
