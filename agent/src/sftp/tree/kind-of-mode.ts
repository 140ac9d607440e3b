import { constants } from 'node:fs';
import type { EntryKind } from './tree.ts';

const { S_IFMT, S_IFREG, S_IFDIR, S_IFLNK } = constants;

/** What the type bits of a mode say that an entry is, on this machine and over SFTP alike. */
export function kindOfMode(mode: number): EntryKind {
  switch (mode & S_IFMT) {
    case S_IFREG:
      return 'file';
    case S_IFDIR:
      return 'directory';
    case S_IFLNK:
      return 'link';
    default:
      return 'other';
  }
}
