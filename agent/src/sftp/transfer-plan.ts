// What a transfer has to do, for every step type that moves files.
import type { PathFilter } from './tree/path-filter.ts';

/** Which file is kept if there is one at the destination already. `update` keeps the newer one. */
export type Overwrite = 'always' | 'different' | 'newer' | 'never' | 'fail' | 'update';

export interface TransferPlan {
  direction: 'push' | 'pull';
  localPath: string;
  remotePath: string;
  createDirectories: boolean;
  overwrite: Overwrite;
  /** How two files are compared. */
  compare: 'time' | 'checksum';
  preservePermissions: boolean;
  preserveTimes: boolean;
  preserveOwner?: boolean;
  /** Permission bits to use instead of the source's. */
  fileMode: number | undefined;
  directoryMode: number | undefined;
  filter: PathFilter;
  /** Whether the last part of the source is a pattern if nothing there has that name. */
  takesPatterns?: boolean;
  symlinks: 'copy' | 'skip' | 'follow' | 'fail';
  verify: 'size' | 'checksum';
  resume: boolean;
  retries: number;
  bytesPerSecond: number | undefined;
  /** Whether both ends must be directories. */
  isSync: boolean;
  dryRun: boolean;
  /** Limit on deletions of what the source does not have; undefined deletes nothing. */
  maxDelete: number | undefined;
  /** Limit on the bytes of all files together; files beyond it fail. */
  maxBytes?: number | undefined;
  /** Whether the destination is removed after the transfer, with what is unfinished there. */
  isStaged?: boolean;
  /** Limit on the number of files; files beyond it fail. */
  maxFiles?: number | undefined;
}
