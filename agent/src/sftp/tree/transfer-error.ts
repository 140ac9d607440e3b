// Errors of a transfer: a reason, and two sentences that a person can act on.

import type { StepReason } from '@opsconductor/protocol';
import { cutText } from '../../cut-text.ts';
import { shownPath } from './shown-path.ts';

export type TransferReason = Extract<
  StepReason,
  | 'path_refused'
  | 'path_missing'
  | 'permission_denied'
  | 'no_space'
  | 'file_exists'
  | 'file_changed'
  | 'checksum_mismatch'
  | 'delete_limit'
  | 'transfer_cut'
  | 'transfer_failed'
>;

export class TransferError extends Error {
  override readonly name = 'TransferError';
  readonly reason: TransferReason;
  readonly advice: string;
  /** Whether the same may succeed a moment later. */
  readonly retryable: boolean;

  constructor(details: {
    reason: TransferReason;
    message: string;
    advice: string;
    retryable?: boolean;
    cause?: unknown;
  }) {
    super(details.message, details.cause === undefined ? undefined : { cause: details.cause });
    this.reason = details.reason;
    this.advice = details.advice;
    this.retryable = details.retryable ?? false;
  }
}

/** Returns whether the answer was lost, so that nobody knows what the server did. */
export function isCut(error: unknown): boolean {
  return error instanceof TransferError && error.reason === 'transfer_cut';
}

/** Status codes of SFTP (draft-ietf-secsh-filexfer-02, section 7). */
export const sftpStatus = { eof: 1, noSuchFile: 2, permissionDenied: 3, failure: 4, unsupported: 8 } as const;

/** Converts an error of one side into a TransferError about a path. `doing` is the participle: `read`, `written`. */
export function fileError(cause: unknown, where: string, path: string, doing: string): TransferError {
  if (cause instanceof TransferError) return cause;
  const shown = shownPath(path);
  const code = codeOf(cause);
  const told = (reason: TransferReason, why: string, advice: string, retryable = false): TransferError =>
    new TransferError({
      reason,
      message: `${where === '' ? shown : `${shown} ${where}`} could not be ${doing}: ${why}.`,
      advice,
      retryable,
      cause,
    });
  switch (code) {
    case 'ENOENT':
    case sftpStatus.noSuchFile:
      return told(
        'path_missing',
        'it is not there',
        'Check the path; create_directories makes directories that are missing above a destination.',
      );
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
    case sftpStatus.permissionDenied:
      return told(
        'permission_denied',
        'permission denied',
        'Check the permissions there, or log in as another user.',
      );
    case 'ENOSPC':
    case 'EDQUOT':
      return told('no_space', 'no space is left', 'Free space there, or raise the quota.');
    case 'ELOOP':
      return told('path_refused', 'a symbolic link is in the way', 'Name the path that the link leads to.');
    case 'ENOTDIR':
      return told('path_missing', 'something in its path is not a directory', 'Check the path.');
    case 'EISDIR':
      return told(
        'transfer_failed',
        'it is a directory',
        'Name a file, or put the file into the directory with a slash at the end.',
      );
    case 'ENAMETOOLONG':
      return told('transfer_failed', 'its name is too long there', 'Shorten the name.');
    case 'EEXIST':
      return told('file_exists', 'it exists', 'Remove it, or choose another value of overwrite.');
    case 'ENOTEMPTY':
      return told('transfer_failed', 'it is a directory that is not empty', 'Look at what is in it.');
    default:
      return told('transfer_failed', reasonText(cause), "Look at the place, and at the server's log.", true);
  }
}

function codeOf(error: unknown): string | number | undefined {
  return (error as { code?: string | number } | undefined)?.code;
}

function reasonText(cause: unknown): string {
  const text = cause instanceof Error ? cause.message : String(cause);
  return cutText(shownPath(text.replace(/\.$/, '')), 300);
}
