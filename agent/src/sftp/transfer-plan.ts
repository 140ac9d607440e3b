// What a transfer is to do, whichever step type asked for it.
import type { PathFilter } from './tree/path-filter.ts';

/** Which of two files is kept where both are there. `update`: the newer one. */
export type Overwrite = 'always' | 'different' | 'newer' | 'never' | 'fail' | 'update';

export interface TransferPlan {
  direction: 'push' | 'pull';
  localPath: string;
  remotePath: string;
  createDirectories: boolean;
  overwrite: Overwrite;
  /** What tells whether two files are different. */
  compare: 'time' | 'checksum';
  preservePermissions: boolean;
  preserveTimes: boolean;
  preserveOwner?: boolean;
  /** Permission bits in place of those of the source. */
  fileMode: number | undefined;
  directoryMode: number | undefined;
  filter: PathFilter;
  symlinks: 'copy' | 'skip' | 'follow' | 'fail';
  verify: 'size' | 'checksum';
  resume: boolean;
  retries: number;
  bytesPerSecond: number | undefined;
  /** Both ends are directories. */
  isSync: boolean;
  dryRun: boolean;
  /** How many things may be deleted that the source does not have; undefined deletes none. */
  maxDelete: number | undefined;
  /** Bytes of all files together; what is beyond is not transferred. */
  maxBytes?: number | undefined;
  /** The same of their number. */
  maxFiles?: number | undefined;
}
