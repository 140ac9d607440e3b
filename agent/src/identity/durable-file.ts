// Files that must be complete after a crash: written next to the target, synced, renamed into place, and the folder
// synced.
import { randomBytes } from 'node:crypto';
import { copyFile, link, mkdir, open, readdir, readFile, rename, stat, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { AgentError } from '../agent-error.ts';

/** Replaces a file atomically. The file and its name are on disk when this resolves. Mode 0600. */
export async function writeDurably(path: string, content: string | Uint8Array): Promise<void> {
  const beside = await writeBeside(path, content);
  try {
    await rename(beside, path);
  } catch (error) {
    await unlink(beside).catch(() => undefined);
    throw error;
  }
  await syncFolder(dirname(path));
}

const besideName = /^(.+)\.[0-9a-f]{12}\.tmp$/;

/**
 * Removes what processes that were killed in the middle of a write left in a folder: nothing else does, and it may be
 * a key, or as large as a journal. Only for files that no other process may be writing now.
 *
 * @param olderThanMs how long ago the last write must have been.
 */
export async function removeUnfinished(
  folder: string,
  isOwn: (name: string) => boolean,
  olderThanMs = 0,
): Promise<void> {
  for (const name of await readdir(folder)) {
    const path = besideName.exec(name)?.[1];
    if (path === undefined || !isOwn(path)) continue;
    if (olderThanMs > 0 && !(await isOlder(join(folder, name), olderThanMs))) continue;
    await unlink(join(folder, name));
  }
}

/** False for a file that is gone: whoever wrote it has finished. */
function isOlder(path: string, ms: number): Promise<boolean> {
  return stat(path).then(
    ({ mtimeMs }) => Date.now() - mtimeMs > ms,
    (error) => {
      if (isMissing(error)) return false;
      throw error;
    },
  );
}

/** The errors of FAT, some network shares and file systems in user space. */
const linksLacking: ReadonlySet<string> = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS']);

/** Whether an error of a hard link means that its file system has none. */
export function lacksLinks(error: unknown): boolean {
  return error instanceof NoHardLinks || linksLacking.has(errorCode(error) ?? '');
}

export class NoHardLinks extends AgentError {
  constructor(path: string, cause: unknown) {
    super(
      `${path} can’t be made: its file system has no hard links.`,
      'Keep the data directory on a file system that has them, such as ext4, XFS or NTFS.',
      { cause },
    );
  }
}

/**
 * Creates a file unless it exists: if several create it at once, one succeeds and the others find it complete. The file
 * and its name are on disk when this resolves, whoever created it. Mode 0600. If an owner is given, the file has that
 * owner from its first moment.
 *
 * @returns whether this call created it.
 * @throws {NoHardLinks} if the file system has no hard links.
 */
export async function createDurably(
  path: string,
  content: string | Uint8Array,
  owner?: { uid: number; gid: number },
): Promise<boolean> {
  const beside = await writeBeside(path, content, owner);
  let isNew = true;
  try {
    await link(beside, path);
  } catch (error) {
    if (lacksLinks(error)) throw new NoHardLinks(path, error);
    if (errorCode(error) !== 'EEXIST') throw error;
    isNew = false;
  } finally {
    await unlink(beside).catch(() => undefined);
  }
  // Also if the file existed: whoever created it may not have got to this, and the caller may now remove what the file
  // replaces.
  await syncFolder(dirname(path));
  return isNew;
}

async function writeBeside(
  path: string,
  content: string | Uint8Array,
  owner?: { uid: number; gid: number },
): Promise<string> {
  const beside = `${path}.${randomBytes(6).toString('hex')}.tmp`;
  const file = await open(beside, 'wx', 0o600);
  try {
    await file.writeFile(content);
    if (owner !== undefined) await file.chown(owner.uid, owner.gid);
    await file.sync();
  } catch (error) {
    await file.close();
    await unlink(beside).catch(() => undefined);
    throw error;
  }
  await file.close();
  return beside;
}

/** Gives a file a second name, or a copy on a file system without hard links. The file itself stays as it is. */
export async function keepAs(path: string, second: string): Promise<void> {
  await link(path, second).catch(() => copyFile(path, second));
}

/** Makes a folder's entries (created, renamed, removed files) durable. */
export async function syncFolder(path: string): Promise<void> {
  if (process.platform === 'win32') return; // folders can't be opened there; NTFS journals its names
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/**
 * Creates a folder that only its owner may enter, and its missing parents. Node's recursive `mkdir` is not used: it
 * never returns below /proc, and on a read-only file system it says that the folder above is missing.
 */
export async function makePrivateFolder(path: string): Promise<void> {
  try {
    await mkdir(path, { mode: 0o700 });
  } catch (error) {
    if (errorCode(error) === 'EEXIST') return;
    const above = dirname(path);
    if (!isMissing(error) || above === path || (await isThere(above))) throw error;
    await makePrivateFolder(above);
    await makePrivateFolder(path);
  }
}

async function isThere(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    (error) => !isMissing(error),
  );
}

/** Returns the file's bytes; undefined if there is no such file. */
export async function readIfExists(path: string): Promise<Buffer | undefined> {
  try {
    return await readFile(path);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

export function isMissing(error: unknown): boolean {
  return errorCode(error) === 'ENOENT';
}

/** Returns the `code` of a system error (`ECONNREFUSED`); undefined for any other error. */
export function errorCode(error: unknown): string | undefined {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return typeof code === 'string' ? code : undefined;
}
