// Directories of this machine, and who may change what is in them.

/** A directory below which steps may read and, if `mayWrite`, write. */
export interface FileRoot {
  path: string;
  mayWrite: boolean;
}

/** Whether a normalized path is the directory or below it. */
export function isInside(path: string, directory: string): boolean {
  return path === directory || path.startsWith(directory === '/' ? '/' : `${directory}/`);
}

/** Whether nobody but root and the agent's own user may write it. */
export function isChangedByOwnerAlone({ uid, mode }: { uid: number; mode: number }): boolean {
  const own = process.getuid?.();
  const isOurs = own === undefined || uid === 0 || uid === own;
  return isOurs && (mode & 0o022) === 0;
}
