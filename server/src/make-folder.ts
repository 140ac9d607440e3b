// Makes missing folders one by one. Node's recursive `mkdir` never returns below /proc, and reports a read-only file
// system as a missing parent folder.
import { chmod, mkdir, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';

/** A folder can't be made. The message is for the operator: it names the folder and says what to do. */
export class FolderError extends Error {
  override readonly name = 'FolderError';
}

/**
 * Makes the folder and any missing parents. Each folder that it makes gets exactly this mode, whatever the umask.
 *
 * @param fix what to do if it can't be made, as a sentence.
 * @throws {FolderError}
 */
export async function makeFolder(path: string, mode: number, fix: string): Promise<void> {
  for (const folder of (await missingOf(resolve(path))).reverse()) {
    try {
      await mkdir(folder, { mode });
      await chmod(folder, mode);
    } catch (error) {
      // Another process made it first, and sets the mode.
      if (codeOf(error) === 'EEXIST') continue;
      throw new FolderError(`The folder ${folder} can’t be made: ${why(folder, error)}. ${fix}`, {
        cause: error,
      });
    }
  }
}

/** Returns the missing folders, the innermost first. */
async function missingOf(path: string): Promise<string[]> {
  const missing: string[] = [];
  for (let at = path; ; at = dirname(at)) {
    const isThere = await stat(at).then(
      () => true,
      () => false,
    );
    if (isThere || at === dirname(at)) return missing;
    missing.push(at);
  }
}

function why(folder: string, error: unknown): string {
  const above = dirname(folder);
  const said: Record<string, string> = {
    EROFS: `${above} is on a file system that is mounted read-only`,
    EACCES: `this user may not write in ${above}`,
    EPERM: `this user may not write in ${above}`,
    ENOSPC: 'the disk is full',
    ENOTDIR: `${above} is not a folder`,
    ENOENT: `no folders can be made in ${above}`,
  };
  return said[codeOf(error) ?? ''] ?? (error instanceof Error ? error.message : String(error));
}

function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException | undefined)?.code;
}
